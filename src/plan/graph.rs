//! The graph of stages: which are needed, and in what order they can be done.

use std::collections::HashMap;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::lang::{Pipeline, Stage, references};
use crate::store::Digest;

/// A pipeline as a graph of the stages that its outputs need.
#[derive(Debug)]
pub struct Plan {
    /// The pipeline it was made from.
    pub pipeline: Pipeline,
    /// An edge goes from a stage to each that reads it. The weight is the stage's place in
    /// `pipeline.stages`.
    pub graph: DiGraph<usize, ()>,
    /// The needed stages in an order in which each comes after what it reads; the earlier one in
    /// the program first.
    pub order: Vec<NodeIndex>,
    nodes: HashMap<String, NodeIndex>,
}

/// Why a pipeline is not a plan. The checker reports these with their places; a plan that meets
/// one was made from a program that was not checked.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// An output or an expression names a stage that is not there.
    #[error("stage `{0}` does not exist")]
    UnknownStage(String),
    /// Stages read each other in a circle.
    #[error("the stages around `{0}` read each other in a circle")]
    Cycle(String),
    /// Nothing is asked for.
    #[error("the pipeline has no `output`, so there is nothing to run")]
    NoOutput,
}

impl Plan {
    /// Makes the graph of what `targets` need; of what the outputs need when it is empty.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn new(pipeline: Pipeline, targets: &[String]) -> Result<Plan, PlanError> {
        let place: HashMap<&str, usize> =
            pipeline.stages.iter().enumerate().map(|(i, stage)| (stage.name.as_str(), i)).collect();
        let mut wanted: Vec<String> = targets.to_vec();
        if wanted.is_empty() {
            wanted = pipeline.outputs.iter().map(|output| output.stage.clone()).collect();
        }
        if wanted.is_empty() {
            return Err(PlanError::NoOutput);
        }
        let mut graph = DiGraph::new();
        let mut nodes: HashMap<String, NodeIndex> = HashMap::new();
        let mut edges: Vec<(String, String)> = Vec::new();
        while let Some(name) = wanted.pop() {
            if nodes.contains_key(&name) {
                continue;
            }
            let index =
                *place.get(name.as_str()).ok_or_else(|| PlanError::UnknownStage(name.clone()))?;
            for upstream in references(&pipeline.stages[index].expr) {
                edges.push((upstream.clone(), name.clone()));
                wanted.push(upstream);
            }
            nodes.insert(name, graph.add_node(index));
        }
        for (from, to) in edges {
            graph.update_edge(nodes[&from], nodes[&to], ());
        }
        let order = in_order(&graph)
            .map_err(|node| PlanError::Cycle(pipeline.stages[graph[node]].name.clone()))?;
        drop(place);
        Ok(Plan { pipeline, graph, order, nodes })
    }

    /// The stage at a node.
    pub fn stage(&self, node: NodeIndex) -> &Stage {
        &self.pipeline.stages[self.graph[node]]
    }

    /// The node of a needed stage.
    pub fn node(&self, name: &str) -> Option<NodeIndex> {
        self.nodes.get(name).copied()
    }

    /// The path under which each file or directory was read, by the digest of its value.
    pub fn paths(&self) -> HashMap<Digest, &str> {
        let mut paths = HashMap::new();
        for (path, read) in &self.pipeline.read {
            paths.entry(read.digest()).or_insert(path.as_str());
        }
        paths
    }

    /// The names of the stages that a stage reads, in the order of the program.
    pub fn upstream(&self, node: NodeIndex) -> Vec<&str> {
        let mut places: Vec<usize> = self
            .graph
            .neighbors_directed(node, Direction::Incoming)
            .map(|neighbor| self.graph[neighbor])
            .collect();
        places.sort_unstable();
        places.into_iter().map(|place| self.pipeline.stages[place].name.as_str()).collect()
    }
}

/// Topological order in which the earliest stage of the program that is ready comes first, so that
/// what a person sees is in the order that they wrote. On a circle: a node on it.
fn in_order(graph: &DiGraph<usize, ()>) -> Result<Vec<NodeIndex>, NodeIndex> {
    // petgraph finds the circle; the order is ours because its own depends on how nodes were added.
    petgraph::algo::toposort(graph, None).map_err(|cycle| cycle.node_id())?;
    let mut waiting: HashMap<NodeIndex, usize> = graph
        .node_indices()
        .map(|node| (node, graph.neighbors_directed(node, Direction::Incoming).count()))
        .collect();
    let mut ready: std::collections::BTreeSet<(usize, NodeIndex)> = graph
        .node_indices()
        .filter(|node| waiting[node] == 0)
        .map(|node| (graph[node], node))
        .collect();
    let mut order = Vec::with_capacity(graph.node_count());
    while let Some((_, node)) = ready.pop_first() {
        order.push(node);
        for next in graph.neighbors_directed(node, Direction::Outgoing) {
            let left = waiting.entry(next).or_default();
            *left -= 1;
            if *left == 0 {
                ready.insert((graph[next], next));
            }
        }
    }
    Ok(order)
}
