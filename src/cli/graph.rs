//! `claw graph`: what reads what.

use std::sync::Arc;

use crate::lang::ExprKind;
use crate::plan::Plan;
use crate::store::MemoryObjects;

use super::arguments::GraphForm;
use super::{Exit, Failure, arguments, load, print};
use crate::project::Project;

/// Draws the stages that the outputs need.
pub(super) fn graph(args: &arguments::Graph) -> Result<Exit, Failure> {
    let (project, entry) = Project::of(&args.pipeline.pipeline)?;
    let objects = Arc::new(MemoryObjects::default());
    let pipeline = load::bind(&project, &entry, &args.pipeline, objects)?;
    let plan = load::plan(pipeline, &[])?;
    print::out(&match args.form {
        GraphForm::Text => text(&plan),
        GraphForm::Mermaid => mermaid(&plan),
        GraphForm::Dot => dot(&plan),
    });
    Ok(Exit::Done)
}

fn operators(plan: &Plan, node: petgraph::graph::NodeIndex) -> String {
    crate::plan::operators(&plan.stage(node).expr).join(", ")
}

fn text(plan: &Plan) -> String {
    let rows: Vec<Vec<String>> = plan
        .order
        .iter()
        .map(|node| {
            let stage = plan.stage(*node);
            let each = matches!(stage.expr.kind, ExprKind::For(_));
            vec![
                stage.name.clone(),
                if each { "row by row" } else { "whole" }.to_string(),
                operators(plan, *node),
                plan.upstream(*node).join(", "),
            ]
        })
        .collect();
    let heads = ["stage", "runs", "operators", "reads"].map(str::to_string);
    print::columns(&heads, &rows)
}

fn mermaid(plan: &Plan) -> String {
    let mut out = String::from("flowchart TD\n");
    for node in &plan.order {
        let name = &plan.stage(*node).name;
        let label = operators(plan, *node);
        out.push_str(&format!("  {}[\"{name}<br/><small>{label}</small>\"]\n", id(name)));
    }
    for node in &plan.order {
        let name = &plan.stage(*node).name;
        for upstream in plan.upstream(*node) {
            out.push_str(&format!("  {} --> {}\n", id(upstream), id(name)));
        }
    }
    out
}

fn dot(plan: &Plan) -> String {
    let mut out = String::from("digraph claw {\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for node in &plan.order {
        let name = &plan.stage(*node).name;
        let label = operators(plan, *node);
        out.push_str(&format!("  \"{name}\" [label=\"{name}\\n{label}\"];\n"));
        for upstream in plan.upstream(*node) {
            out.push_str(&format!("  \"{upstream}\" -> \"{name}\";\n"));
        }
    }
    out.push_str("}\n");
    out
}

/// Mermaid's names hold no dots.
fn id(name: &str) -> String {
    name.replace('.', "__")
}
