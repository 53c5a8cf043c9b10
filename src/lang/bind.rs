//! Binding: a [`Program`] and parameters become a [`Pipeline`], in which nothing is open.
//!
//! Everything from outside is read here and once: parameters, files, directories, variables. What
//! is wrong is told all at once, every missing parameter in one message.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::check::outputs::over_what_is_read;
use super::check::{
    given, missing, noun, order::order, out_of_bounds, place_of, read_template, variable_of,
};
use super::diagnostic::{Diagnostic, did_you_mean, listed, nearest};
use super::eval::{Scope, evaluate};
use super::fold::{Known, fold, retyped};
use super::origin::{Origin, OriginKind, Origins, content, shown, words};
use super::program::{Expr, ExprKind, Param, Pipeline, Program, SourceKind, Stage};
use super::secrets::{Secret, Secrets, handle, name_of};
use super::source::{Sources, Span};
use super::stack::roomy;
use super::types::Type;
use super::value::Value;

/// Gives a program's parameters their values. `given` holds texts by parameter, as a command line
/// or a file of parameters gives them: expressions of the language (`100`, `model("x")`, `[1, 2]`,
/// `30s`), and for `str` and string enumerations bare words too.
///
/// Secrets stay out of expressions: where one is used, its handle stands, and what it is lies in
/// [`Pipeline::secrets`]. One that is not set is no error here, since it may not be needed.
///
/// # Errors
/// Everything that is wrong, at once. Places are in the program's own sources.
pub fn bind(
    program: &Program,
    given: &BTreeMap<String, String>,
    sources: &dyn Sources,
) -> Result<Pipeline, Vec<Diagnostic>> {
    roomy(|| bound(program, given, sources))
}

fn bound(
    program: &Program,
    given: &BTreeMap<String, String>,
    sources: &dyn Sources,
) -> Result<Pipeline, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let mut world = Outside {
        sources,
        params: BTreeMap::new(),
        read: Vec::new(),
        places: HashMap::new(),
        secrets: Secrets::default(),
    };
    unknown(program, given, &mut found);
    let values = parameters(program, given, &mut world, &mut found);
    bounds(program, &values, &mut world, &mut found);
    if !found.is_empty() {
        return Err(told(found));
    }
    let mut sought = Sought::new(program, given, &values);
    let mut stages: Vec<Stage> = program
        .stages
        .iter()
        .map(|stage| Stage {
            origins: Origins::default(),
            expr: fold(stage.expr.clone(), &mut world, &mut found),
            policy: stage
                .policy
                .iter()
                .map(|(name, of)| (name.clone(), fold(of.clone(), &mut world, &mut found)))
                .collect(),
            name: stage.name.clone(),
            doc: stage.doc.clone(),
            ty: stage.ty.clone(),
            span: stage.span,
        })
        .collect();
    // What constants name was looked at when the program was checked; now parameters are known too.
    let read = world.read.iter().map(|(path, _)| (path.clone(), None)).collect();
    over_what_is_read(&program.outputs, &program.sources, &read, &mut found);
    if !found.is_empty() {
        return Err(told(found));
    }
    for (stage, written) in stages.iter_mut().zip(&program.stages) {
        stage.origins = sought.origins(written, &world);
    }
    world.secrets.add_variables(&stages, sources);
    let params = program
        .params
        .iter()
        .filter_map(|param| Some((param.name.clone(), values.get(&param.name)?.clone())))
        .collect();
    Ok(Pipeline {
        params,
        stages,
        outputs: program.outputs.clone(),
        sources: program.sources.clone(),
        read: world.read,
        secrets: Arc::new(world.secrets),
    })
}

/// The same file asked for at two places is told once.
fn told(mut found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut seen = BTreeSet::new();
    found.retain(|diagnostic| seen.insert((diagnostic.code, diagnostic.message.clone())));
    found
}

/// What lies outside, as far as it is known, each thing read once.
struct Outside<'s> {
    sources: &'s dyn Sources,
    params: BTreeMap<String, Expr>,
    read: Vec<(String, Value)>,
    /// Where in `read` a file or directory is.
    places: HashMap<(String, bool), usize>,
    secrets: Secrets,
}

impl Outside<'_> {
    /// What was read from there, and the path under which it is known.
    fn known(&self, kind: &SourceKind, path: &str, span: Span) -> Option<&(String, Value)> {
        let (folder, is_dir) = match kind {
            SourceKind::File(folder) => (folder, false),
            SourceKind::Dir(folder) => (folder, true),
            SourceKind::Template(folder) => {
                let place = place_of(folder, path, span).ok()?;
                return self.read.iter().find(|(known, _)| *known == place);
            }
            SourceKind::Env => return None,
        };
        let place = place_of(folder, path, span).ok()?;
        self.read.get(*self.places.get(&(place, is_dir))?)
    }
}

impl Known for Outside<'_> {
    fn param(&mut self, name: &str) -> Option<Expr> {
        self.params.get(name).cloned()
    }

    fn source(
        &mut self,
        kind: &SourceKind,
        path: &str,
        expr: &Expr,
    ) -> Result<Option<Value>, Diagnostic> {
        let (folder, is_dir) = match kind {
            SourceKind::File(folder) => (folder, false),
            SourceKind::Dir(folder) => (folder, true),
            SourceKind::Template(folder) => {
                let template = read_template(folder, path, expr.span, self.sources)?;
                let value = template.value();
                let read = (template.main, value.clone());
                if !self.read.contains(&read) {
                    self.read.push(read);
                }
                return Ok(Some(value));
            }
            SourceKind::Env => {
                let value = self.sources.env(path).ok_or_else(|| no_variable(path, expr));
                return value.map(|value| Some(Value::Str(value)));
            }
        };
        let place = place_of(folder, path, expr.span)?;
        let known = (place, is_dir);
        if let Some(at) = self.places.get(&known) {
            return Ok(Some(self.read[*at].1.clone()));
        }
        let place = &known.0;
        let value = if is_dir {
            self.sources.dir(place).map(Value::Dir)
        } else {
            self.sources.file(place).map(|digest| Value::File {
                digest,
                name: place.rsplit('/').next().unwrap_or(place).to_string(),
            })
        };
        let value = value.map_err(|err| missing(place, is_dir, &err, expr.span, self.sources))?;
        self.read.push((known.0.clone(), value.clone()));
        self.places.insert(known, self.read.len() - 1);
        Ok(Some(value))
    }
}

/// Looks for what the expressions of stages name.
struct Sought<'p> {
    program: &'p Program,
    given: &'p BTreeMap<String, String>,
    values: &'p BTreeMap<String, Value>,
    /// Parameters that were looked at.
    params: BTreeMap<&'p str, Origin>,
}

impl<'p> Sought<'p> {
    fn new(
        program: &'p Program,
        given: &'p BTreeMap<String, String>,
        values: &'p BTreeMap<String, Value>,
    ) -> Sought<'p> {
        Sought { program, given, values, params: BTreeMap::new() }
    }

    /// The origins of a stage, whose expression has not been bound yet.
    fn origins(&mut self, stage: &'p Stage, world: &Outside<'_>) -> Origins {
        let mut named = stage.origins.named.clone();
        let mut add = |origin: Origin| {
            if !named.contains(&origin) {
                named.push(origin);
            }
        };
        let mut open = vec![&stage.expr];
        while let Some(expr) = open.pop() {
            open.extend(expr.children());
            match &expr.kind {
                ExprKind::Param(name) => {
                    let Some(param) = self.program.params.iter().find(|of| of.name == *name) else {
                        continue;
                    };
                    // A file that is the default is told by its path.
                    if let (false, Some(default)) = (self.given.contains_key(name), &param.default)
                        && matches!(default.kind, ExprKind::Source(..))
                        && default.ty != Type::Str
                    {
                        open.push(default);
                    } else if let Some(value) = self.values.get(name) {
                        let origin = self.params.entry(&param.name).or_insert_with(|| {
                            let (digest, shown) = shown(value);
                            Origin {
                                kind: OriginKind::Parameter,
                                name: name.clone(),
                                digest,
                                shown,
                            }
                        });
                        add(origin.clone());
                    }
                }
                ExprKind::Source(kind, path) => {
                    if let ExprKind::Const(Value::Str(path)) = &path.kind
                        && let Some((path, value)) = world.known(kind, path, expr.span)
                    {
                        let (path, digest) = (path.clone(), value.digest());
                        let kind = OriginKind::Path;
                        add(Origin { kind, name: path, digest, shown: content(value) });
                    }
                }
                _ => {}
            }
        }
        let span = stage.expr.span;
        let text = self.program.sources.text(span.file);
        let text = text.get(span.start as usize..span.end as usize).unwrap_or_default();
        Origins { text: Some(words(text)), named }
    }
}

fn no_variable(name: &str, expr: &Expr) -> Diagnostic {
    Diagnostic::error("E0506", format!("the environment variable {name} is not set"))
        .at(expr.span, "asked for here")
        .help(format!("set it before the run: `{name}=… claw run …`"))
}

fn unknown(program: &Program, given: &BTreeMap<String, String>, found: &mut Vec<Diagnostic>) {
    let known = || program.params.iter().map(|param| param.name.as_str());
    for name in given.keys().filter(|name| !known().any(|known| known == name.as_str())) {
        let mut diagnostic =
            Diagnostic::error("E0504", format!("the program has no parameter `{name}`"));
        if let Some(near) = nearest(name, known())
            && let Some(param) = program.params.iter().find(|param| param.name == near)
        {
            diagnostic = diagnostic.at(param.span, did_you_mean(name, known(), ""));
        }
        found.push(diagnostic.help(format!("there is {}", listed(known()))));
    }
}

/// The values of all parameters. They are put into `world` on the way, since defaults may name
/// other parameters.
fn parameters(
    program: &Program,
    given: &BTreeMap<String, String>,
    world: &mut Outside<'_>,
    found: &mut Vec<Diagnostic>,
) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    let mut absent: Vec<&Param> = Vec::new();
    for place in in_order(&program.params) {
        let param = &program.params[place];
        if param.secret {
            secret(param, given.get(&param.name), world, found);
            continue;
        }
        let expr = match (given.get(&param.name), &param.default) {
            (Some(text), _) => match read(param, text) {
                Ok(expr) => expr,
                Err(diagnostic) => {
                    found.push(diagnostic);
                    continue;
                }
            },
            (None, Some(default)) => default.clone(),
            (None, None) => {
                absent.push(param);
                continue;
            }
        };
        let expr = retyped(fold(expr, world, found), &param.ty);
        world.params.insert(param.name.clone(), expr.clone());
        // What does not evaluate has an error of its own, or names a parameter that has.
        if let Ok(value) = evaluate(&expr, &mut Scope::new()) {
            values.insert(param.name.clone(), value);
        }
    }
    if !absent.is_empty() {
        found.push(absent_parameters(&absent));
    }
    values
}

/// A secret parameter: its value goes beside the program, in which only its handle stands.
fn secret(
    param: &Param,
    given: Option<&String>,
    world: &mut Outside<'_>,
    found: &mut Vec<Diagnostic>,
) {
    let default = param.default.as_ref().and_then(variable_of);
    let (value, variable) = match (given, default) {
        (Some(text), _) => {
            let as_text = Param { ty: Type::Str, ..param.clone() };
            match read(&as_text, text).map(|expr| expr.kind) {
                Ok(ExprKind::Const(Value::Str(text))) => (Some(text), None),
                Ok(_) => (None, None),
                Err(diagnostic) => return found.push(diagnostic),
            }
        }
        (None, Some(variable)) => (world.sources.secret(variable), Some(variable.to_string())),
        (None, None) => (None, None),
    };
    let name = name_of(&param.name);
    let kind = ExprKind::Const(handle(&name));
    let handle = Expr { kind, ty: Type::Secret, span: param.span };
    world.params.insert(param.name.clone(), handle);
    let param_name = Some(param.name.clone());
    world.secrets.add(name, Secret { value, variable, param: param_name, span: param.span });
}

/// Parameters so that each comes after those that its default names.
fn in_order(params: &[Param]) -> Vec<usize> {
    fn named(expr: &Expr, names: &mut BTreeSet<String>) {
        if let ExprKind::Param(name) = &expr.kind {
            names.insert(name.clone());
        }
        expr.children().into_iter().for_each(|child| named(child, names));
    }
    let places: BTreeMap<&str, usize> =
        params.iter().enumerate().map(|(place, param)| (param.name.as_str(), place)).collect();
    let needs: Vec<Vec<usize>> = params
        .iter()
        .map(|param| {
            let mut names = BTreeSet::new();
            param.default.iter().for_each(|default| named(default, &mut names));
            names.iter().filter_map(|name| places.get(name.as_str()).copied()).collect()
        })
        .collect();
    order(&needs).sorted
}

fn absent_parameters(absent: &[&Param]) -> Diagnostic {
    let names = listed(absent.iter().map(|param| param.name.as_str()));
    let (what, verb) =
        if absent.len() == 1 { ("parameter", "has") } else { ("parameters", "have") };
    let mut diagnostic = Diagnostic::error("E0503", format!("{what} {names} {verb} no value"));
    let mut lines = Vec::new();
    for param in absent {
        diagnostic = diagnostic.at(param.span, noun(&param.ty));
        let doc = param.doc.lines().next().unwrap_or("");
        let doc = if doc.is_empty() { String::new() } else { format!("   {doc}") };
        lines.push(format!("-p {}=<{}>{doc}", param.name, param.ty));
    }
    diagnostic.help(lines.join("\n"))
}

/// A parameter's text by its type.
fn read(param: &Param, text: &str) -> Result<Expr, Diagnostic> {
    let constant = |value: Value| Expr {
        kind: ExprKind::Const(value),
        ty: param.ty.clone(),
        span: param.span,
    };
    let bare = match &param.ty {
        Type::Optional(of) => &**of,
        other => other,
    };
    match bare {
        _ if text.trim() == "null" && *bare != param.ty => return Ok(constant(Value::Null)),
        Type::Str if !is_quoted(text) => return Ok(constant(Value::str(text))),
        Type::Enum(words) if !is_quoted(text) => {
            if words.iter().any(|word| word == text) {
                return Ok(constant(Value::str(text)));
            }
            let label = did_you_mean(text, words.iter().map(String::as_str), "declared here");
            return Err(refused(param, text).at(param.span, label).help(format!("one of {bare}")));
        }
        // A path alone is as good as `dir("…")`.
        Type::File | Type::Dir if !text.contains('(') => {
            let folder = String::new();
            let kind = if *bare == Type::File {
                SourceKind::File(folder)
            } else {
                SourceKind::Dir(folder)
            };
            let path = Expr { ty: Type::Str, ..constant(Value::str(text)) };
            let kind = ExprKind::Source(kind, Box::new(path));
            return Ok(Expr { kind, ..constant(Value::Null) });
        }
        _ => {}
    }
    given(text, &param.ty, param.span).map_err(|inner| {
        let help = match inner.help {
            Some(help) => format!("{}; {help}", inner.message),
            None => inner.message,
        };
        let label = format!("this is {}", noun(&param.ty));
        let diagnostic = refused(param, text).at(param.span, label);
        if param.secret { diagnostic } else { diagnostic.help(help) }
    })
}

fn is_quoted(text: &str) -> bool {
    text.starts_with('"') || text.starts_with("r\"")
}

fn refused(param: &Param, text: &str) -> Diagnostic {
    let shown = if param.secret { "…" } else { text };
    Diagnostic::error("E0505", format!("`-p {}={shown}` is not {}", param.name, noun(&param.ty)))
}

fn bounds(
    program: &Program,
    values: &BTreeMap<String, Value>,
    world: &mut Outside<'_>,
    found: &mut Vec<Diagnostic>,
) {
    struct Values<'a>(&'a Program, &'a BTreeMap<String, Value>, &'a mut dyn Known);
    impl Known for Values<'_> {
        fn param(&mut self, name: &str) -> Option<Expr> {
            let param = self.0.params.iter().find(|param| param.name == name)?;
            let value = self.1.get(name)?.clone();
            Some(Expr { kind: ExprKind::Const(value), ty: param.ty.clone(), span: param.span })
        }

        fn source(
            &mut self,
            kind: &SourceKind,
            path: &str,
            expr: &Expr,
        ) -> Result<Option<Value>, Diagnostic> {
            self.2.source(kind, path, expr)
        }
    }
    for param in &program.params {
        let (Some(bound), Some(value)) = (&param.bound, values.get(&param.name)) else {
            continue;
        };
        let holds = fold(bound.clone(), &mut Values(program, values, world), found);
        let holds = evaluate(&holds, &mut Scope::new());
        if holds == Ok(Value::Bool(false)) {
            let given = format!("the value {}", String::from_utf8_lossy(&value.encode()));
            found.push(out_of_bounds(param, param.span, &given, &program.sources));
        }
    }
}
