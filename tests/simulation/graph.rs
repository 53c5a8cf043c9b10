//! A random program: made stage by stage, written as `.claw`, and worked out by hand.
//!
//! Working it out ([`Graph::results`]) is one loop after the other over plain numbers, with nothing
//! of the engine in it: no stream, no store, no key, nothing at the same time.

use std::fmt::Write as _;

use super::chance::{self, Chance};

/// Numbers stay below this.
const MODULUS: i64 = 997;
/// The most rows that a stage is allowed to come to.
const MOST_ROWS: usize = 40;

/// A program.
pub(super) struct Graph {
    pub(super) seed: u64,
    pub(super) stages: Vec<Stage>,
    /// Places of the stages that the program is for.
    pub(super) outputs: Vec<usize>,
}

/// One stage.
pub(super) struct Stage {
    pub(super) kind: Kind,
    pub(super) policy: Policy,
}

/// What a stage does. Numbers of other stages are their places.
#[derive(Clone)]
pub(super) enum Kind {
    /// Numbers from 1 on.
    Count(i64),
    /// Rows that stand in the program.
    Written(Vec<i64>),
    /// One call a row.
    Each { of: usize, by: Each, only: Only },
    /// Every pair.
    Cross { left: usize, right: Right, only: Only },
    /// A call in a call, over the rows of another stage.
    Nested { of: usize, inner: usize },
    /// No operator.
    Plus { of: usize, more: i64 },
    /// One table after another.
    Both(usize, usize),
    /// Some of the rows, as a stage that is not fanned out.
    Some { of: usize, test: Test },
    /// A whole table at once.
    Sorted(usize),
    /// A whole table to one number.
    Total(usize),
    /// Each row and the one number of another stage.
    With { of: usize, one: usize },
}

#[derive(Clone, Copy)]
pub(super) enum Each {
    Double,
    Half,
    Split,
    Shaky,
}

#[derive(Clone)]
pub(super) enum Right {
    Stage(usize),
    List(Vec<i64>),
}

/// Which rows are left over.
#[derive(Clone, Copy)]
pub(super) enum Only {
    All,
    /// By a condition of the `for`.
    Where(Test),
    /// By a filter on what it goes over.
    In(Test),
}

/// `n % by == rest`.
#[derive(Clone, Copy)]
pub(super) struct Test {
    by: i64,
    rest: i64,
}

/// `with { … }`.
#[derive(Clone, Default)]
pub(super) struct Policy {
    pub(super) retries: u64,
    pub(super) timeout: bool,
    on_error: OnError,
    pub(super) concurrency: Option<u64>,
    pub(super) cpu: Option<u64>,
    pub(super) gib: u64,
    canary: Option<u64>,
    /// The share in percent below which failures must stay.
    gate: Option<u64>,
}

#[derive(Clone, Copy, Default)]
enum OnError {
    #[default]
    Fail,
    Keep,
    /// At most so many percent.
    Drop(u64),
}

/// What becomes of a shaky call.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Fate {
    Works,
    /// It fails for good.
    Fails,
    /// It takes the whole task down.
    Panics,
    /// The machine fails so many times before it works.
    Later(u64),
    /// It hangs so many times before it works.
    Hangs(u64),
}

/// What a stage comes to.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Made {
    Table(Vec<i64>),
    One(i64),
    /// It ends the run.
    Fails,
    /// Something that it reads is not there.
    Nothing,
}

pub(super) fn double(n: i64) -> i64 {
    2 * n % MODULUS
}

pub(super) fn half(n: i64) -> Option<i64> {
    (n % 2 == 0).then_some(n / 2)
}

pub(super) fn split(n: i64) -> Vec<i64> {
    match n % 3 {
        0 => vec![],
        1 => vec![n],
        _ => vec![n, (n + 1) % MODULUS],
    }
}

pub(super) fn add(a: i64, b: i64) -> i64 {
    (a + b) % MODULUS
}

pub(super) fn total(all: &[i64]) -> i64 {
    all.iter().sum::<i64>() % MODULUS
}

/// What becomes of a shaky call for `n` in the stage at `tag`.
pub(super) fn fate(seed: u64, tag: u64, n: i64) -> Fate {
    let roll = chance::of(&[seed, tag, n as u64]);
    let times = 1 + roll / 64 % 3;
    // Few graphs have operators with mistakes in them.
    let panics = seed.is_multiple_of(5);
    match roll % 32 {
        0..3 => Fate::Fails,
        3..7 => Fate::Later(times),
        7..9 => Fate::Hangs(times),
        9 if panics => Fate::Panics,
        _ => Fate::Works,
    }
}

impl Test {
    fn holds(self, n: i64) -> bool {
        n % self.by == self.rest
    }
}

impl Graph {
    pub(super) fn random(seed: u64) -> Graph {
        let mut chance = Chance::new(seed);
        let mut graph = Graph { seed, stages: Vec::new(), outputs: Vec::new() };
        let count = 3 + chance.below(7) as usize;
        while graph.stages.len() < count {
            let kind = graph.kind(&mut chance);
            let policy = graph.policy(&kind, &mut chance);
            graph.stages.push(Stage { kind, policy });
            let made = graph.results();
            let last = made.last().expect("a stage");
            // Large tables are no harder, only slower; and few graphs are to fail.
            let large = matches!(last, Made::Table(rows) if rows.len() > MOST_ROWS);
            let fails = matches!(last, Made::Fails | Made::Nothing);
            if large || (fails && !chance.one_in(6)) {
                graph.stages.pop();
            }
        }
        graph.outputs.push(count - 1);
        for place in 0..count - 1 {
            if chance.one_in(3) {
                graph.outputs.push(place);
            }
        }
        graph
    }

    fn kind(&self, chance: &mut Chance) -> Kind {
        let (ones, tables): (Vec<usize>, Vec<usize>) = (0..self.stages.len())
            .partition(|place| matches!(self.stages[*place].kind, Kind::Total(_)));
        if tables.is_empty() || chance.one_in(6) {
            let count = 1 + chance.below(20);
            return if chance.one_in(3) {
                Kind::Written((0..count % 6).map(|_| chance.below(50) as i64).collect())
            } else {
                Kind::Count(count as i64)
            };
        }
        // Chains are where rows stream.
        let last = tables[tables.len() - 1];
        let of = if chance.one_in(2) { last } else { chance.pick(&tables) };
        let other = chance.pick(&tables);
        let by = 2 + chance.below(3) as i64;
        let test = Test { by, rest: chance.below(by as u64) as i64 };
        let only = match chance.below(5) {
            0 => Only::Where(test),
            1 => Only::In(test),
            _ => Only::All,
        };
        match chance.below(18) {
            0..7 => Kind::Each { of, by: Each::Shaky, only },
            7 => Kind::Each { of, by: Each::Double, only },
            8 => Kind::Each { of, by: chance.pick(&[Each::Half, Each::Split]), only },
            9 if chance.one_in(2) => Kind::Cross { left: of, right: Right::Stage(other), only },
            9 => Kind::Cross { left: of, right: Right::List(vec![1, 2, 3]), only },
            10 => Kind::Nested { of, inner: other },
            11 => Kind::Plus { of, more: chance.below(9) as i64 },
            12 => Kind::Both(of, other),
            13 | 16 | 17 => Kind::Some { of, test },
            14 => chance.pick(&[Kind::Sorted as fn(usize) -> Kind, Kind::Total])(of),
            _ if !ones.is_empty() => Kind::With { of, one: chance.pick(&ones) },
            _ => Kind::Total(of),
        }
    }

    fn policy(&self, kind: &Kind, chance: &mut Chance) -> Policy {
        let mut policy = Policy::default();
        let shaky = matches!(kind, Kind::Each { by: Each::Shaky, .. });
        let fans_out = shaky || matches!(kind, Kind::Each { .. } | Kind::Cross { .. });
        if !fans_out {
            return policy;
        }
        if chance.one_in(2) {
            policy.concurrency = Some(1 + chance.below(5));
        }
        if chance.one_in(4) {
            policy.cpu = Some(1 + chance.below(2));
            policy.gib = chance.below(4);
        }
        if shaky {
            policy.retries = chance.below(4);
            policy.timeout = chance.one_in(2);
            policy.on_error = match chance.below(4) {
                0 => OnError::Fail,
                1 => OnError::Keep,
                _ => OnError::Drop(chance.pick(&[0, 10, 20, 34, 50, 100])),
            };
            if chance.one_in(2) {
                policy.canary = Some(1 + chance.below(5));
                policy.gate = chance.one_in(2).then(|| chance.pick(&[10, 40, 60, 100]));
            }
        }
        policy
    }

    /// Whether a stage fans out, so that its rows are told one by one.
    pub(super) fn fans_out(&self, place: usize) -> bool {
        !matches!(
            self.stages[place].kind,
            Kind::Written(_)
                | Kind::Both(..)
                | Kind::Some { .. }
                | Kind::Sorted(_)
                | Kind::Total(_)
        )
    }

    /// The program as text.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("use std/toy\n");
        for (place, stage) in self.stages.iter().enumerate() {
            let body = written(&stage.kind, place);
            let _ = writeln!(
                text,
                "stage s{place}: {} = {body}{}",
                ty(&stage.kind),
                stage.policy.written()
            );
        }
        for output in &self.outputs {
            let _ = writeln!(text, "output s{output}");
        }
        text
    }

    /// What each stage comes to.
    pub(super) fn results(&self) -> Vec<Made> {
        let mut made: Vec<Made> = Vec::new();
        for place in 0..self.stages.len() {
            let next = self.result(place, &made);
            made.push(next);
        }
        made
    }

    fn result(&self, place: usize, made: &[Made]) -> Made {
        let stage = &self.stages[place];
        // Everything that a stage reads must be there.
        let table = |place: usize| match &made[place] {
            Made::Table(rows) => Some(rows.clone()),
            _ => None,
        };
        let done = match &stage.kind {
            Kind::Count(to) => Some(Made::Table((1..=*to).collect())),
            Kind::Written(rows) => Some(Made::Table(rows.clone())),
            Kind::Each { of, by, only } => {
                table(*of).map(|rows| self.each(place, &rows, *by, *only))
            }
            Kind::Cross { left, right, only } => table(*left).and_then(|left| {
                let right = match right {
                    Right::Stage(place) => table(*place)?,
                    Right::List(list) => list.clone(),
                };
                let mut rows = Vec::new();
                for a in left.into_iter().filter(|a| only.in_generator(*a)) {
                    for b in &right {
                        if only.in_condition(a) {
                            rows.push(add(a, *b));
                        }
                    }
                }
                Some(Made::Table(rows))
            }),
            Kind::Nested { of, inner } => table(*of).and_then(|rows| {
                let inner = table(*inner)?;
                let sum = |n: i64| {
                    let doubled: Vec<i64> =
                        inner.iter().filter(|m| **m < n).map(|m| double(*m)).collect();
                    add(n, total(&doubled))
                };
                Some(Made::Table(rows.into_iter().map(sum).collect()))
            }),
            Kind::Plus { of, more } => {
                table(*of).map(|rows| Made::Table(rows.iter().map(|n| n + more).collect()))
            }
            Kind::Both(a, b) => table(*a).zip(table(*b)).map(|(a, b)| Made::Table([a, b].concat())),
            Kind::Some { of, test } => table(*of)
                .map(|rows| Made::Table(rows.into_iter().filter(|n| test.holds(*n)).collect())),
            Kind::Sorted(of) => table(*of).map(|mut rows| {
                rows.sort_unstable();
                Made::Table(rows)
            }),
            Kind::Total(of) => table(*of).map(|rows| Made::One(total(&rows))),
            Kind::With { of, one } => table(*of).and_then(|rows| {
                let Made::One(one) = made[*one] else { return None };
                Some(Made::Table(rows.into_iter().map(|n| add(n, one)).collect()))
            }),
        };
        done.unwrap_or(Made::Nothing)
    }

    fn each(&self, place: usize, rows: &[i64], by: Each, only: Only) -> Made {
        let policy = &self.stages[place].policy;
        let (mut out, mut tried, mut failed, mut outside) = (Vec::new(), 0, 0, false);
        for n in rows.iter().copied().filter(|n| only.in_generator(*n)) {
            if policy.canary == Some(tried) && !policy.goes_on(tried, failed) {
                return Made::Fails;
            }
            if !only.in_condition(n) {
                continue;
            }
            tried += 1;
            match by {
                Each::Double => out.push(double(n)),
                Each::Half => out.extend(half(n)),
                Each::Split => out.extend(split(n)),
                Each::Shaky => match fate(self.seed, place as u64, n) {
                    Fate::Works => out.push(n),
                    Fate::Later(times) | Fate::Hangs(times) if times <= policy.retries => {
                        out.push(n);
                    }
                    fate => {
                        failed += 1;
                        outside |= fate != Fate::Fails;
                    }
                },
            }
        }
        let too_many = match policy.on_error {
            OnError::Fail => failed > 0,
            OnError::Keep => false,
            OnError::Drop(percent) => failed * 100 > percent * tried,
        };
        // That none could be made is a result only where that says something about the rows.
        let unknown = outside && failed == tried;
        if too_many || unknown { Made::Fails } else { Made::Table(out) }
    }
}

impl Only {
    fn in_generator(self, n: i64) -> bool {
        if let Only::In(test) = self { test.holds(n) } else { true }
    }

    fn in_condition(self, n: i64) -> bool {
        if let Only::Where(test) = self { test.holds(n) } else { true }
    }

    fn written(self, of: usize) -> (String, String) {
        match self {
            Only::All => (format!("s{of}"), String::new()),
            Only::Where(Test { by, rest }) => {
                (format!("s{of}"), format!(" where x.n % {by} == {rest}"))
            }
            Only::In(Test { by, rest }) => {
                (format!("(s{of} where .n % {by} == {rest})"), String::new())
            }
        }
    }
}

impl Policy {
    /// Whether the rest is started after the first rows.
    fn goes_on(&self, tried: u64, failed: u64) -> bool {
        match self.gate {
            Some(percent) => failed * 100 < percent * tried,
            None => failed < tried,
        }
    }

    fn written(&self) -> String {
        let mut parts = Vec::new();
        if self.retries > 0 {
            parts.push(format!("retries: {}, backoff: 20ms", self.retries));
        }
        if self.timeout {
            parts.push("timeout: 30s".to_string());
        }
        match self.on_error {
            OnError::Fail => {}
            OnError::Keep => parts.push("on_error: keep".to_string()),
            OnError::Drop(percent) => parts.push(format!("on_error: drop(at_most: {percent}%)")),
        }
        if let Some(concurrency) = self.concurrency {
            parts.push(format!("concurrency: {concurrency}"));
        }
        if let Some(cpu) = self.cpu {
            parts.push(format!("resources: {{ cpu: {cpu}, memory: {}GiB }}", self.gib));
        }
        if let Some(canary) = self.canary {
            parts.push(format!("canary: {canary}"));
        }
        if let Some(gate) = self.gate {
            parts.push(format!("gate: .failed_share < {gate}%"));
        }
        if parts.is_empty() { String::new() } else { format!(" with {{ {} }}", parts.join(", ")) }
    }
}

fn ty(kind: &Kind) -> &'static str {
    if matches!(kind, Kind::Total(_)) { "toy.Number" } else { "[toy.Number]" }
}

fn written(kind: &Kind, place: usize) -> String {
    match kind {
        Kind::Count(to) => format!("for i in 1..={to} {{ toy.number(n: i) }}"),
        Kind::Written(rows) => {
            let rows: Vec<String> = rows.iter().map(|n| format!("{{ n: {n} }}")).collect();
            format!("[{}]", rows.join(", "))
        }
        Kind::Each { of, by, only } => {
            let (from, condition) = only.written(*of);
            let call = match by {
                Each::Double => "toy.double(of: x)".to_string(),
                Each::Half => "toy.half(of: x)".to_string(),
                Each::Split => "toy.split(of: x)".to_string(),
                Each::Shaky => format!("toy.shaky(of: x, tag: {place})"),
            };
            format!("for x in {from}{condition} {{ {call} }}")
        }
        Kind::Cross { left, right, only } => {
            let (from, condition) = only.written(*left);
            let (right, to) = match right {
                Right::Stage(place) => (format!("s{place}"), "y"),
                Right::List(list) => (format!("{list:?}"), "{ n: y }"),
            };
            format!("for x in {from}, y in {right}{condition} {{ toy.add(of: x, to: {to}) }}")
        }
        Kind::Nested { of, inner } => format!(
            "for x in s{of} {{ toy.add(of: x, to: toy.total(of: for y in s{inner} where y.n < x.n \
             {{ toy.double(of: y) }})) }}"
        ),
        Kind::Plus { of, more } => format!("for x in s{of} {{ {{ n: x.n + {more} }} }}"),
        Kind::Both(a, b) => format!("s{a} + s{b}"),
        Kind::Some { of, test: Test { by, rest } } => format!("s{of} where .n % {by} == {rest}"),
        Kind::Sorted(of) => format!("toy.sorted(of: s{of})"),
        Kind::Total(of) => format!("toy.total(of: s{of})"),
        Kind::With { of, one } => format!("for x in s{of} {{ toy.add(of: x, to: s{one}) }}"),
    }
}
