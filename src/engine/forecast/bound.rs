//! How certain a number is that was found by looking ahead.

use std::ops::{BitOr, BitOrAssign};

use serde::Serialize;

/// What a number says of the one that a run comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// It will be that.
    Exact,
    /// It will not be more.
    AtMost,
    /// There may be more, where it is not known how many rows a row becomes.
    AtLeast,
    /// It may be more or less, such as the number of last time.
    About,
}

impl BitOr for Bound {
    type Output = Bound;

    /// What is known of a number that is made of both.
    fn bitor(self, other: Bound) -> Bound {
        match (self, other) {
            (Bound::Exact, other) => other,
            (one, Bound::Exact) => one,
            (one, other) if one == other => one,
            _ => Bound::About,
        }
    }
}

impl BitOrAssign for Bound {
    fn bitor_assign(&mut self, other: Bound) {
        *self = *self | other;
    }
}

#[cfg(test)]
mod tests {
    use super::Bound::*;

    #[test]
    fn what_is_bounded_from_both_sides_is_a_guess() {
        assert_eq!(Exact | Exact, Exact);
        assert_eq!(Exact | AtMost, AtMost);
        assert_eq!(AtLeast | Exact | AtLeast, AtLeast);
        assert_eq!(AtLeast | AtMost, About);
        assert_eq!(About | Exact, About);
    }
}
