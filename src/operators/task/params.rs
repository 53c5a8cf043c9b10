//! The parameter language: what `[[param]]` in a `family.toml` can say, and how it is drawn.
//!
//! Each parameter has a name and one way of coming about. Later ones may use earlier ones.
//!
//! | way | gives |
//! |---|---|
//! | `word = [2, 3]` | a pronounceable word of 2 to 3 syllables, unlike every other of the task |
//! | `int = [3, 40]` | a whole number, both ends included |
//! | `choice = ["a", "{{ x }}.txt"]` | one of these; text is a template |
//! | `choice = "groups"` | one item of the list that the expression gives |
//! | `text = "{{ base }}.csv"` | text |
//! | `value = "rows|length"` | whatever the expression gives |
//! | `shuffle = "names"` | the expression's list in a random order |
//! | `sample = { from = "names", count = [2, 3] }` | some of its items, in their order |
//! | `list = { of = { word = [2, 2] }, count = [3, 5], distinct = true }` | a list |
//! | `table = { rows = [6, 9], columns = [{ name = "qty", int = [1, 9] }] }` | a list of records |
//!
//! Templates and expressions are minijinja's. A column may be `distinct` too.
//!
//! Every parameter draws from a stream of its own, whose key is made of the seed, the grounding's
//! id, the family's name and the parameter's name: never of any text of the family. So rewording a
//! family, or adding a parameter to it, redraws nothing. When the drawn values miss one of the
//! family's `require` conditions, all of them are drawn again with the number of the attempt.

use serde_json::{Map, Value as Json};

use crate::store::KeyHasher;

use super::render::Templates;
use super::words::{Stream, Words};

/// How often a family may miss its own conditions before that is an error.
const ATTEMPTS: u64 = 200;

/// One declared parameter.
#[derive(Debug, Clone)]
pub(crate) struct Param {
    pub(crate) name: String,
    draw: Draw,
}

#[derive(Debug, Clone)]
enum Draw {
    Word(i64, i64),
    Int(i64, i64),
    ChoiceOf(Vec<Json>),
    ChoiceFrom(String),
    Text(String),
    Value(String),
    Shuffle(String),
    Sample { from: String, count: (i64, i64) },
    List { of: Box<Draw>, count: (i64, i64), distinct: bool },
    Table { rows: (i64, i64), columns: Vec<Column> },
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    draw: Draw,
    distinct: bool,
}

/// Reads `[[param]]`.
pub(crate) fn read(tables: &[Json], templates: &mut Templates) -> Result<Vec<Param>, String> {
    let mut params: Vec<Param> = Vec::new();
    for table in tables {
        let table = table.as_object().ok_or("a parameter is a table")?;
        let name = name_of(table)?;
        if params.iter().any(|param| param.name == name) {
            return Err(format!("parameter `{name}` is declared twice"));
        }
        let draw =
            Draw::read(table, &["name"]).map_err(|err| format!("parameter `{name}`: {err}"))?;
        draw.compile(templates).map_err(|err| format!("parameter `{name}`: {err}"))?;
        params.push(Param { name, draw });
    }
    Ok(params)
}

fn name_of(table: &Map<String, Json>) -> Result<String, String> {
    let name = table.get("name").and_then(Json::as_str).ok_or("a parameter needs a `name`")?;
    Ok(name.to_string())
}

impl Draw {
    /// The one way that a table declares, besides the keys in `others`.
    fn read(table: &Map<String, Json>, others: &[&str]) -> Result<Draw, String> {
        let mut ways = table.iter().filter(|(key, _)| !others.contains(&key.as_str()));
        let (Some((way, value)), None) = (ways.next(), ways.next()) else {
            return Err("say exactly one way to draw it, such as `word = [2, 3]`".to_string());
        };
        let text =
            || value.as_str().map(str::to_string).ok_or_else(|| format!("`{way}` wants text"));
        let record = || value.as_object().ok_or_else(|| format!("`{way}` wants a table `{{ … }}`"));
        Ok(match way.as_str() {
            "word" => {
                let (low, high) = bounds(value, way)?;
                if low < 1 {
                    return Err("a word has at least one syllable".to_string());
                }
                Draw::Word(low, high)
            }
            "int" => {
                let (low, high) = bounds(value, way)?;
                Draw::Int(low, high)
            }
            "choice" => match value {
                Json::Array(items) if !items.is_empty() => Draw::ChoiceOf(items.clone()),
                Json::String(from) => Draw::ChoiceFrom(from.clone()),
                _ => return Err("`choice` wants a list with items or an expression".to_string()),
            },
            "text" => Draw::Text(text()?),
            "value" => Draw::Value(text()?),
            "shuffle" => Draw::Shuffle(text()?),
            "sample" => {
                let record = record()?;
                let from = record.get("from").and_then(Json::as_str);
                Draw::Sample {
                    from: from.ok_or("`sample` wants `from`, an expression")?.to_string(),
                    count: count(record, "count")?,
                }
            }
            "list" => {
                let record = record()?;
                let of = record.get("of").and_then(Json::as_object);
                Draw::List {
                    of: Box::new(Draw::read(of.ok_or("`list` wants `of`, a table")?, &[])?),
                    count: count(record, "count")?,
                    distinct: record.get("distinct").and_then(Json::as_bool).unwrap_or(false),
                }
            }
            "table" => {
                let record = record()?;
                let columns = record.get("columns").and_then(Json::as_array);
                let column = |column: &Json| {
                    let column = column.as_object().ok_or("a column is a table")?;
                    let name = name_of(column)?;
                    let draw = Draw::read(column, &["name", "distinct"])
                        .map_err(|err| format!("column `{name}`: {err}"))?;
                    let distinct = column.get("distinct").and_then(Json::as_bool).unwrap_or(false);
                    Ok::<_, String>(Column { name, draw, distinct })
                };
                Draw::Table {
                    rows: count(record, "rows")?,
                    columns: columns
                        .ok_or("`table` wants `columns`")?
                        .iter()
                        .map(column)
                        .collect::<Result<_, _>>()?,
                }
            }
            other => return Err(format!("there is no way to draw called `{other}`")),
        })
    }

    /// Makes sure that templates and expressions can be read, once and for all.
    fn compile(&self, templates: &mut Templates) -> Result<(), String> {
        match self {
            Draw::Word(..) | Draw::Int(..) => Ok(()),
            Draw::ChoiceOf(items) => items.iter().try_for_each(|item| templates.compile_in(item)),
            Draw::Text(text) => templates.compile(text),
            Draw::ChoiceFrom(expr)
            | Draw::Value(expr)
            | Draw::Shuffle(expr)
            | Draw::Sample { from: expr, .. } => templates.compile_expression(expr),
            Draw::List { of, .. } => of.compile(templates),
            Draw::Table { columns, .. } => {
                columns.iter().try_for_each(|column| column.draw.compile(templates))
            }
        }
    }

    fn draw(&self, scope: &mut Scope<'_>) -> Result<Json, String> {
        Ok(match self {
            Draw::Word(low, high) => Json::String(scope.words.draw(&mut scope.stream, *low, *high)),
            Draw::Int(low, high) => Json::from(scope.stream.between(*low, *high)),
            Draw::ChoiceOf(items) => {
                let item = scope.stream.pick(items).clone();
                scope.templates.render_in(&item, &scope.drawn)?
            }
            Draw::ChoiceFrom(from) => {
                let items = scope.list(from)?;
                if items.is_empty() {
                    return Err(format!("`{from}` gives an empty list to choose from"));
                }
                scope.stream.pick(&items).clone()
            }
            Draw::Text(text) => Json::String(scope.templates.render(text, &scope.drawn)?),
            Draw::Value(expr) => scope.templates.evaluate(expr, &scope.drawn)?,
            Draw::Shuffle(from) => {
                let mut items = scope.list(from)?;
                scope.stream.shuffle(&mut items);
                Json::Array(items)
            }
            Draw::Sample { from, count } => {
                let items = scope.list(from)?;
                let count = scope.stream.between(count.0, count.1).max(0) as usize;
                let mut order: Vec<usize> = (0..items.len()).collect();
                scope.stream.shuffle(&mut order);
                order.truncate(count);
                order.sort_unstable();
                Json::Array(order.into_iter().map(|at| items[at].clone()).collect())
            }
            Draw::List { of, count, distinct } => {
                let mut items = Vec::new();
                for _ in 0..scope.stream.between(count.0, count.1) {
                    items.push(of.draw_unlike(scope, if *distinct { &items } else { &[] })?);
                }
                Json::Array(items)
            }
            Draw::Table { rows, columns } => {
                let count = scope.stream.between(rows.0, rows.1).max(0) as usize;
                let mut records = vec![Map::new(); count];
                for column in columns {
                    let mut before = Vec::new();
                    for record in &mut records {
                        let cell = column.draw.draw_unlike(scope, &before)?;
                        if column.distinct {
                            before.push(cell.clone());
                        }
                        record.insert(column.name.clone(), cell);
                    }
                }
                Json::Array(records.into_iter().map(Json::Object).collect())
            }
        })
    }

    fn draw_unlike(&self, scope: &mut Scope<'_>, others: &[Json]) -> Result<Json, String> {
        for _ in 0..ATTEMPTS {
            let item = self.draw(scope)?;
            if !others.contains(&item) {
                return Ok(item);
            }
        }
        Err(format!("{} different values cannot be drawn from so few", others.len() + 1))
    }
}

/// What a draw may look at.
struct Scope<'a> {
    templates: &'a Templates,
    stream: Stream,
    words: Words,
    drawn: Map<String, Json>,
}

impl Scope<'_> {
    fn list(&self, expr: &str) -> Result<Vec<Json>, String> {
        match self.templates.evaluate(expr, &self.drawn)? {
            Json::Array(items) => Ok(items),
            other => Err(format!("`{expr}` gives {other}, not a list")),
        }
    }
}

/// Draws all parameters for one grounding.
pub(crate) fn draw(
    params: &[Param],
    require: &[String],
    templates: &Templates,
    family: &str,
    grounding: &str,
    seed: i64,
) -> Result<Map<String, Json>, String> {
    for attempt in 0..ATTEMPTS {
        let key = |name: &str| {
            let mut hasher = KeyHasher::new("claw task parameter 1");
            hasher.number(seed as u64).text(grounding).text(family).number(attempt).text(name);
            hasher.finish()
        };
        let mut scope = Scope {
            templates,
            stream: Stream::new(&key("")),
            words: Words::default(),
            drawn: Map::new(),
        };
        for param in params {
            scope.stream = Stream::new(&key(&param.name));
            let value = param
                .draw
                .draw(&mut scope)
                .map_err(|err| format!("parameter `{}`: {err}", param.name))?;
            scope.drawn.insert(param.name.clone(), value);
        }
        let mut holds = true;
        for condition in require {
            match templates.evaluate(condition, &scope.drawn)? {
                Json::Bool(true) => {}
                Json::Bool(false) => holds = false,
                other => return Err(format!("condition `{condition}` gives {other}")),
            }
        }
        if holds {
            return Ok(scope.drawn);
        }
    }
    Err(format!("{ATTEMPTS} draws in a row missed its conditions: {}", require.join("; ")))
}

fn bounds(value: &Json, way: &str) -> Result<(i64, i64), String> {
    let bad = || format!("`{way}` wants two whole numbers, the smaller first: `{way} = [2, 3]`");
    let [low, high] = value.as_array().ok_or_else(bad)?.as_slice() else {
        return Err(bad());
    };
    let (low, high) = (low.as_i64().ok_or_else(bad)?, high.as_i64().ok_or_else(bad)?);
    if low > high { Err(bad()) } else { Ok((low, high)) }
}

fn count(record: &Map<String, Json>, key: &str) -> Result<(i64, i64), String> {
    bounds(record.get(key).ok_or_else(|| format!("`{key}` is missing"))?, key)
}
