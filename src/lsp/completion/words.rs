//! Words that the language itself gives a meaning: declarations, policies, units.

/// A word, what it is for, and what is put in for it with its gaps.
pub(super) struct Word {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) snippet: &'static str,
}

const fn word(name: &'static str, about: &'static str, snippet: &'static str) -> Word {
    Word { name, about, snippet }
}

/// What a declaration starts with.
pub(super) const ITEMS: [Word; 10] = [
    word("use", "a standard module, a file or a package", "use $0"),
    word("param", "a run-time input", "param ${1:name}: ${2:int} = $0"),
    word(
        "secret param",
        "an input that enters no key, no log and no store",
        "secret param ${1:name}: ${2:str}",
    ),
    word("let", "a constant", "let ${1:name} = $0"),
    word("type", "a record or an enumeration", "type ${1:Name} = { $0 }"),
    word("def", "a reusable stage", "def ${1:name}($2) -> ${3:Type} {\n  $0\n}"),
    word(
        "extern def",
        "an operator of claw itself; only in the library",
        "extern def ${1:name}($2) -> ${3:Type}",
    ),
    word("stage", "a node of the graph", "stage ${1:name} = $0"),
    word("output", "what the run is for", "output $0"),
    word("test", "a test of this file", "test \"$1\" {\n  $0\n}"),
];

/// What an expression may start with.
pub(super) const EXPRESSIONS: [Word; 7] = [
    word("for", "one call for each row", "for ${1:x} in ${2:rows} { $0 }"),
    word("if", "one of two values", "if $1 then $2 else $0"),
    word(
        "try",
        "a bounded loop: the first accepted draft",
        "try ${1:4} with ${2:feedback} {\n  let ${3:draft} = $4\n  accept $3 when $0\n}",
    ),
    word("not", "turns a condition round", "not $0"),
    word("true", "", "true"),
    word("false", "", "false"),
    word("null", "nothing", "null"),
];

/// Policies: name, type, what it is for, and the values that are words or good starts.
pub(super) const POLICIES: [(&str, &str, &str, &[&str]); 11] = [
    ("retries", "int", "How often a failing row is tried again.", &["2"]),
    ("backoff", "duration", "The pause before the first further try, doubled each time.", &["1s"]),
    ("timeout", "duration", "After which one call is given up.", &["10m"]),
    (
        "on_error",
        "fail | keep | drop(at_most: 5%)",
        "What becomes of a row that has failed for good.",
        &["fail", "keep", "drop(at_most: 5%)"],
    ),
    ("concurrency", "int", "How many of its calls run at once.", &["8"]),
    (
        "resources",
        "{ cpu: float, memory: bytes, gpu: int }",
        "What one call needs.",
        &["{ cpu: 1, memory: 2GiB }"],
    ),
    ("executor", "str", "The name of the executor that runs it.", &[]),
    ("cache", "on | off | refresh", "Whether earlier results are used.", &["on", "off", "refresh"]),
    ("budget", "money", "The most that the stage may spend.", &["$20"]),
    ("canary", "int", "How many rows are run before the gate is asked.", &["100"]),
    (
        "gate",
        "condition",
        "What must hold after the canary: of `.rows`, `.failed`, `.failed_share`.",
        &[".failed_share <= 5%"],
    ),
];

/// What `resources` is made of.
pub(super) const RESOURCES: [(&str, &str); 3] =
    [("cpu", "float"), ("memory", "bytes"), ("gpu", "int")];

/// Units of sizes.
pub(super) const SIZES: [&str; 9] = ["KiB", "MiB", "GiB", "TiB", "B", "kB", "MB", "GB", "TB"];

/// Units of durations.
pub(super) const TIMES: [&str; 5] = ["ms", "s", "m", "h", "d"];

#[cfg(test)]
mod tests {
    #[test]
    fn every_policy_is_offered() {
        let offered = super::POLICIES.map(|(name, ..)| name);
        assert_eq!(offered, crate::lang::policy_names());
    }
}
