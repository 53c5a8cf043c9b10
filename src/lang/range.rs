//! Ranges of whole numbers without their items: `1..=1_000_000` is two numbers until somebody needs
//! all of it at once.

use super::eval::EvalError;
use super::value::Value;

/// The longest list that an expression may make; larger tables belong to stages.
pub(super) const MAX_ITEMS: usize = 10_000_000;

/// Whole numbers that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntRange {
    first: i64,
    len: u64,
}

fn failed(message: String) -> EvalError {
    EvalError::Failed { message, span: None }
}

impl IntRange {
    /// The numbers between two ends; none when the second end comes before the first.
    ///
    /// # Errors
    /// When an end is no whole number, or there are more numbers than can be counted.
    pub fn of(from: &Value, to: &Value, inclusive: bool) -> Result<IntRange, EvalError> {
        let (Some(first), Some(to)) = (from.as_int(), to.as_int()) else {
            return Err(failed("both ends of a range must be whole numbers".to_string()));
        };
        let len = (i128::from(to) - i128::from(first) + i128::from(inclusive)).max(0);
        let len = u64::try_from(len)
            .map_err(|_| failed(format!("the range has {len} items, more than can be counted")))?;
        Ok(IntRange { first, len })
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number `index` of them, counted from 0.
    pub fn get(&self, index: u64) -> Option<i64> {
        let at = i128::from(self.first) + i128::from(index);
        (index < self.len).then(|| i64::try_from(at).ok())?
    }

    /// All of them at once.
    ///
    /// # Errors
    /// See [`IntRange::can_be_whole`].
    pub fn items(&self) -> Result<Vec<Value>, EvalError> {
        self.can_be_whole()?;
        Ok((0..self.len).filter_map(|index| self.get(index)).map(Value::Int).collect())
    }

    /// Whether all of them may be there at once.
    ///
    /// # Errors
    /// When there are more than an expression may hold.
    pub fn can_be_whole(&self) -> Result<(), EvalError> {
        if self.len > MAX_ITEMS as u64 {
            return Err(failed(format!(
                "the range has {} items, and an expression holds ten million at most; a stage can go \
                 over more: `for i in …`",
                self.len
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that meets no value has failed")]
mod tests {
    use super::*;

    fn range(from: i64, to: i64, inclusive: bool) -> Result<IntRange, EvalError> {
        IntRange::of(&Value::Int(from), &Value::Int(to), inclusive)
    }

    #[test]
    fn ends_decide_how_many_there_are() {
        let items = |range: IntRange| range.items().unwrap();
        assert_eq!(items(range(2, 4, false).unwrap()), [Value::Int(2), Value::Int(3)]);
        assert_eq!(range(2, 4, true).unwrap().get(2), Some(4));
        assert_eq!(range(2, 4, true).unwrap().get(3), None);
        assert!(range(4, 2, true).unwrap().is_empty());
        assert!(range(4, 2, false).unwrap().items().unwrap().is_empty());
        assert_eq!(range(i64::MAX, i64::MAX, true).unwrap().get(0), Some(i64::MAX));
    }

    #[test]
    fn a_range_is_as_small_as_its_ends() {
        let all = range(i64::MIN, i64::MAX, false).unwrap();
        assert_eq!((all.len(), all.get(0)), (u64::MAX, Some(i64::MIN)));
        assert_eq!(all.get(u64::MAX - 1), Some(i64::MAX - 1));
        assert!(all.items().unwrap_err().to_string().contains("ten million"));
        assert!(range(i64::MIN, i64::MAX, true).is_err());
        assert!(IntRange::of(&Value::Float(1.0), &Value::Int(2), false).is_err());
    }
}
