//! Putting things that need each other in order, and finding those that need each other in a circle.
//!
//! Nothing here recurses: a program may declare a hundred thousand stages, each reading the next.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;

/// An order in which everything comes after what it needs.
pub(in crate::lang) struct Order {
    /// All nodes; those in a circle, or that need one, come last.
    pub(in crate::lang) sorted: Vec<usize>,
    /// For each group of nodes that need each other, a shortest circle through its first node:
    /// each needs the next, the last needs the first.
    pub(in crate::lang) circles: Vec<Vec<usize>>,
}

/// Orders nodes `0..needs.len()`; `needs[i]` are the nodes that `i` needs. Where the needs leave a
/// choice, lower numbers come first.
pub(in crate::lang) fn order(needs: &[Vec<usize>]) -> Order {
    let count = needs.len();
    let mut open = vec![0usize; count];
    let mut needed_by = vec![Vec::new(); count];
    for (node, needs) in needs.iter().enumerate() {
        for need in needs {
            open[node] += 1;
            needed_by[*need].push(node);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..count).filter(|node| open[*node] == 0).map(Reverse).collect();
    let mut sorted = Vec::with_capacity(count);
    while let Some(Reverse(node)) = ready.pop() {
        sorted.push(node);
        for next in &needed_by[node] {
            open[*next] -= 1;
            if open[*next] == 0 {
                ready.push(Reverse(*next));
            }
        }
    }
    let mut circles = Vec::new();
    if sorted.len() < count {
        let rest: Vec<usize> = (0..count).filter(|node| open[*node] > 0).collect();
        circles = find_circles(&rest, needs);
        sorted.extend(rest);
    }
    Order { sorted, circles }
}

fn find_circles(rest: &[usize], needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut graph: DiGraph<usize, ()> = DiGraph::new();
    let mut places = vec![None; needs.len()];
    for node in rest {
        places[*node] = Some(graph.add_node(*node));
    }
    for node in rest {
        for need in &needs[*node] {
            if let (Some(from), Some(to)) = (places[*node], places[*need]) {
                graph.add_edge(from, to, ());
            }
        }
    }
    let mut circles: Vec<Vec<usize>> = kosaraju_scc(&graph)
        .into_iter()
        .filter_map(|group| {
            let group: Vec<usize> = group.into_iter().map(|place| graph[place]).collect();
            shortest_circle(&group, needs)
        })
        .collect();
    circles.sort();
    circles
}

/// The shortest way from the group's first node back to itself.
fn shortest_circle(group: &[usize], needs: &[Vec<usize>]) -> Option<Vec<usize>> {
    let start = *group.iter().min()?;
    let mut inside = vec![false; needs.len()];
    group.iter().for_each(|node| inside[*node] = true);
    let mut from = vec![None; needs.len()];
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for need in needs[node].iter().filter(|need| inside[**need]) {
            if *need == start {
                let mut circle = vec![node];
                let mut at = node;
                while let Some(previous) = from[at] {
                    circle.push(previous);
                    at = previous;
                }
                circle.reverse();
                return Some(circle);
            }
            if from[*need].is_none() {
                from[*need] = Some(node);
                queue.push_back(*need);
            }
        }
    }
    None
}

/// How many members of a circle have a label where they stand; a longer one is only drawn.
pub(super) const LABELLED: usize = 8;

/// How many members of a circle are drawn at each of its ends. Circles that people make are shorter.
const DRAWN: usize = 25;

/// `a → b → a`
pub(super) fn in_one_line(names: &[&str]) -> String {
    names.iter().chain(names.first()).copied().collect::<Vec<_>>().join(" → ")
}

/// The circle, drawn; `verb` says what each does to the next:
///
/// ```text
/// ╭─▶ a
/// │   ↓ needs
/// │   b
/// ╰───╯ needs
/// ```
///
/// Of a very long one the middle is left out.
pub(super) fn drawn(names: &[&str], verb: &str) -> String {
    let left_out = names.len().saturating_sub(2 * DRAWN);
    let mut lines = Vec::new();
    for (i, name) in names.iter().enumerate() {
        if left_out > 1 && (DRAWN..DRAWN + left_out).contains(&i) {
            if i == DRAWN {
                lines.push(format!("│   ⋮ {left_out} more"));
            }
            continue;
        }
        if i > 0 {
            lines.push(format!("│   ↓ {verb}"));
        }
        lines.push(format!("{}{name}", if i == 0 { "╭─▶ " } else { "│   " }));
    }
    lines.push(format!("╰───╯ {verb}"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn sorts_and_finds_circles() {
        let found = order(&[vec![1], vec![], vec![3], vec![4], vec![2, 3], vec![2]]);
        assert_eq!(found.sorted[..2], [1, 0]);
        assert_eq!(found.circles, [vec![2, 3, 4]]);
        assert_eq!(order(&[vec![0]]).circles, [vec![0]]);
        let chain: Vec<Vec<usize>> =
            (0..100_000).map(|i| if i < 99_999 { vec![i + 1] } else { vec![] }).collect();
        assert_eq!(order(&chain).sorted[0], 99_999);
    }
}
