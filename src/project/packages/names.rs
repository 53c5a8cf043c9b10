//! Names and versions of packages.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::error::PackageError;

/// Says whether a name can be one of a package: `finance` or `acme/finance`, of letters, digits, `_`
/// and `-`, each part starting with a letter. `std` is the language's own library.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), PackageError> {
    let parts: Vec<&str> = name.split('/').collect();
    let is_word = |part: &&str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    if parts.len() > 2 || !parts.iter().all(is_word) {
        let name = name.escape_debug();
        return Err(PackageError::unusable(format!("`{name}` cannot be the name of a package"))
            .help("write `finance` or `acme/finance`: letters, digits, `_` and `-`"));
    }
    if parts[0] == "std" {
        return Err(PackageError::unusable(format!("`{name}` cannot be the name of a package"))
            .help("`std` is the language's own library; choose another name"));
    }
    Ok(())
}

/// A version: `1.2.3`, or `1.2.3-rc.1` for one that is not final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    numbers: [u64; 3],
    /// Empty for a final version.
    before: String,
}

impl Version {
    /// Whether it is one that people get who ask for none.
    pub fn is_final(&self) -> bool {
        self.before.is_empty()
    }
}

impl FromStr for Version {
    type Err = PackageError;

    fn from_str(text: &str) -> Result<Version, PackageError> {
        let bad = || {
            PackageError::unusable(format!("`{}` is no version", text.escape_debug()))
                .help("a version is three numbers: `1.2.0`, or `1.2.0-rc.1` before it is final")
        };
        let (numbers, before) = match text.split_once('-') {
            Some((_, "")) => return Err(bad()),
            Some((numbers, before)) => (numbers, before),
            None => (text, ""),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        let numbers: Vec<u64> = numbers
            .split('.')
            .map(|number| {
                let canonical = number == "0" || !number.starts_with('0');
                let digits = number.bytes().all(|byte| byte.is_ascii_digit());
                if canonical && digits { number.parse().ok() } else { None }
            })
            .collect::<Option<_>>()
            .ok_or_else(bad)?;
        let numbers: [u64; 3] = numbers.try_into().map_err(|_| bad())?;
        if !before.chars().all(plain) {
            return Err(bad());
        }
        Ok(Version { numbers, before: before.to_string() })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        if self.before.is_empty() { Ok(()) } else { write!(f, "-{}", self.before) }
    }
}

impl Ord for Version {
    /// As semantic versioning orders them: numbers count as numbers, and what comes before a final
    /// version is older than it.
    fn cmp(&self, other: &Version) -> Ordering {
        let part = |a: &str, b: &str| match (a.parse::<u64>(), b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => a.cmp(b),
        };
        let before = || match (self.is_final(), other.is_final()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let (mut a, mut b) = (self.before.split('.'), other.before.split('.'));
                loop {
                    match (a.next(), b.next()) {
                        (None, None) => return Ordering::Equal,
                        (None, Some(_)) => return Ordering::Less,
                        (Some(_), None) => return Ordering::Greater,
                        (Some(a), Some(b)) => match part(a, b) {
                            Ordering::Equal => {}
                            unequal => return unequal,
                        },
                    }
                }
            }
        };
        // Equal must mean the same text, so that `Ord` and `Eq` agree.
        self.numbers
            .cmp(&other.numbers)
            .then_with(before)
            .then_with(|| self.before.cmp(&other.before))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_people_count() {
        let sorted =
            ["0.9.10", "1.0.0-alpha.2", "1.0.0-alpha.10", "1.0.0-rc", "1.0.0", "1.0.1", "1.10.0"];
        let mut versions: Vec<Version> =
            sorted.iter().rev().map(|text| text.parse().expect("a version")).collect();
        versions.sort();
        let shown: Vec<String> = versions.iter().map(Version::to_string).collect();
        assert_eq!(shown, sorted);
        for bad in ["", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.x", "1.2.3-", "v1.2.3", "1.2.3-a/b"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_one_or_two_words() {
        for good in ["finance", "acme/finance", "a-b/c_d2"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "std", "std/x", "a/b/c", "../x", "2x", "a b", "a/", "a@1"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
