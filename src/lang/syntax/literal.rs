//! Literals: text to values. Sizes become bytes, durations milliseconds, percentages fractions,
//! money micro-dollars, all exactly: `0.1h` is six minutes, and `0.3B` is an error, not zero.

use super::ast::ExprKind;

/// What is wrong with a literal, and what to do about it.
pub(super) struct BadLiteral {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

fn bad(message: impl Into<String>) -> BadLiteral {
    BadLiteral { message: message.into(), help: None }
}

/// A number, by what it looks like.
pub(super) fn number(text: &str) -> Result<ExprKind, BadLiteral> {
    let digits = |c: char| c.is_ascii_digit() || c == '_';
    if text.starts_with('$') {
        return money(text);
    }
    if text.ends_with('%') {
        return percent(text);
    }
    let rest = text.trim_start_matches(|c| digits(c) || c == '.');
    let exponent = rest.strip_prefix(['e', 'E']).map(|rest| rest.trim_start_matches(['+', '-']));
    match exponent {
        _ if rest.is_empty() && !text.contains('.') => int(text),
        _ if rest.is_empty() => float(text),
        Some(power) if !power.is_empty() && power.chars().all(digits) => float(text),
        _ => quantity(text),
    }
}

/// `1_000`
fn int(text: &str) -> Result<ExprKind, BadLiteral> {
    let number = text.replace('_', "").parse();
    number.map(ExprKind::Int).map_err(|_| BadLiteral {
        message: format!("`{text}` is too large for an int"),
        help: Some(format!("the largest int is {}", i64::MAX)),
    })
}

/// Whether digits are those of the smallest int, which is one more than the largest can be without
/// the sign in front.
pub(super) fn is_smallest(text: &str) -> bool {
    text.replace('_', "").parse() == Ok(i64::MIN.unsigned_abs())
}

/// `0.7`, `1e-3`
fn float(text: &str) -> Result<ExprKind, BadLiteral> {
    finite(text).map(ExprKind::Float)
}

/// `20%`
fn percent(text: &str) -> Result<ExprKind, BadLiteral> {
    let share = finite(text.trim_end_matches('%'))?;
    Ok(ExprKind::Percent(share / 100.0))
}

fn finite(text: &str) -> Result<f64, BadLiteral> {
    match text.replace('_', "").parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(bad(format!("`{text}` is too large for a float"))),
    }
}

/// `$2.50`
fn money(text: &str) -> Result<ExprKind, BadLiteral> {
    let amount = text.trim_start_matches('$');
    exactly(amount, 1_000_000).map(ExprKind::Money).ok_or_else(|| BadLiteral {
        message: format!("`{text}` is not an amount of money"),
        help: Some("amounts are kept to a millionth of a dollar".to_string()),
    })
}

const SIZES: &[(&str, i64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

const TIMES: &[(&str, i64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// `512MiB`, `20s`
fn quantity(text: &str) -> Result<ExprKind, BadLiteral> {
    let split = text.find(|c: char| !matches!(c, '0'..='9' | '_' | '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let whole = |factor: i64, smallest: &str| {
        exactly(number, factor).ok_or_else(|| {
            bad(format!("`{text}` is too large, or is not a whole number of {smallest}"))
        })
    };
    if let Some((_, factor)) = SIZES.iter().find(|(name, _)| *name == unit) {
        return whole(*factor, "bytes").map(ExprKind::Bytes);
    }
    if let Some((_, factor)) = TIMES.iter().find(|(name, _)| *name == unit) {
        return whole(*factor, "milliseconds").map(ExprKind::Duration);
    }
    let lower = unit.to_ascii_lowercase();
    let meant = match lower.as_str() {
        // Sizes with one letter are what memory limits are written in elsewhere.
        "k" | "kb" | "kib" => Some("KiB"),
        "m" | "mb" | "mib" => Some("MiB"),
        "g" | "gb" | "gib" => Some("GiB"),
        "t" | "tb" | "tib" => Some("TiB"),
        "b" | "bytes" => Some("B"),
        lower => [("mil", "ms"), ("sec", "s"), ("min", "m"), ("h", "h"), ("day", "d")]
            .into_iter()
            .find_map(|(start, unit)| lower.starts_with(start).then_some(unit)),
    };
    Err(BadLiteral {
        message: match meant {
            Some(meant) => format!("`{unit}` is not a unit; did you mean `{number}{meant}`?"),
            None => format!("`{unit}` is not a unit"),
        },
        help: Some(
            "sizes: B KiB MiB GiB TiB (kB MB GB TB for powers of ten); durations: ms s m h d"
                .to_string(),
        ),
    })
}

/// A decimal number times `factor`, when that is a whole number that fits.
fn exactly(number: &str, factor: i64) -> Option<i64> {
    let number = number.replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    let fraction = fraction.trim_end_matches('0');
    let scale = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let product = digits.checked_mul(i128::from(factor))?;
    (product % scale == 0).then(|| i64::try_from(product / scale).ok()).flatten()
}

/// The character that `\x` stands for, `None` when there is no such escape.
pub(super) fn escape(text: &str) -> Option<char> {
    match text.get(1..)? {
        "n" => Some('\n'),
        "t" => Some('\t'),
        "r" => Some('\r'),
        "\\" => Some('\\'),
        "\"" => Some('"'),
        other => {
            let code = other.strip_prefix("u{")?.strip_suffix('}')?;
            char::from_u32(u32::from_str_radix(code, 16).ok()?)
        }
    }
}

/// Takes away from a `"""` string what is there for the eye: the line break after the opening
/// quotes, the one before the closing quotes, and the indentation that all lines share. `None`
/// stands for a hole or an escape, which count as text.
pub(super) fn dedent(parts: Vec<Option<String>>) -> Vec<Option<String>> {
    let mut lines: Vec<Vec<Option<char>>> = vec![Vec::new()];
    for part in &parts {
        let Some(text) = part else {
            lines.last_mut().into_iter().for_each(|line| line.push(None));
            continue;
        };
        for c in text.chars().filter(|c| *c != '\r') {
            match c {
                '\n' => lines.push(Vec::new()),
                c => lines.last_mut().into_iter().for_each(|line| line.push(Some(c))),
            }
        }
    }
    let space = |c: &Option<char>| matches!(c, Some(' ' | '\t'));
    let blank = |line: &Vec<Option<char>>| line.iter().all(space);
    if lines.len() > 1 && blank(&lines[0]) {
        lines.remove(0);
    }
    if lines.len() > 1 && lines.last().is_some_and(blank) {
        lines.pop();
    }
    let indent = lines
        .iter()
        .filter(|line| !blank(line))
        .map(|line| line.iter().take_while(|c| space(c)).count())
        .min()
        .unwrap_or(0);
    let mut out = vec![Some(String::new())];
    let text = |c: char, out: &mut Vec<Option<String>>| match out.last_mut() {
        Some(Some(last)) => last.push(c),
        _ => out.push(Some(c.to_string())),
    };
    for (i, line) in lines.iter().enumerate() {
        if i > 0 {
            text('\n', &mut out);
        }
        for c in line.iter().skip(indent) {
            match c {
                Some(c) => text(*c, &mut out),
                None => out.push(None),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_exact() {
        assert!(matches!(quantity("512MiB"), Ok(ExprKind::Bytes(536_870_912))));
        assert!(matches!(quantity("1.5h"), Ok(ExprKind::Duration(5_400_000))));
        assert!(matches!(quantity("0.1h"), Ok(ExprKind::Duration(360_000))));
        assert!(matches!(money("$2.50"), Ok(ExprKind::Money(2_500_000))));
        assert!(matches!(percent("20%"), Ok(ExprKind::Percent(x)) if x == 0.2));
        assert!(quantity("0.3B").is_err());
        assert!(quantity("99999999999999TiB").is_err());
        assert!(int("9223372036854775808").is_err());
        let meant = |text: &str| quantity(text).err().map(|bad| bad.message).unwrap_or_default();
        assert!(meant("512M").contains("512MiB"), "{}", meant("512M"));
        assert!(meant("5mb").contains("5MiB"));
        assert!(meant("30sec").contains("30s"));
    }

    #[test]
    fn long_strings_lose_their_indentation() {
        let text = |text: &str| dedent(vec![Some(text.to_string())]);
        assert_eq!(text("\n    a\n      b\n\n    c\n  "), [Some("a\n  b\n\nc".to_string())]);
        assert_eq!(text("a"), [Some("a".to_string())]);
        let holes = dedent(vec![Some("\n    a ".into()), None, Some(" b\n    ".into()), None]);
        let expected = [Some("a ".to_string()), None, Some(" b\n".into()), None];
        assert_eq!(holes, expected);
    }
}
