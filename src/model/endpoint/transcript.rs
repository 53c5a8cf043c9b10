//! What was said in a session, as a tree.
//!
//! Agents keep their conversation themselves and send it whole with every question, so that what a
//! session has heard is a heap of conversations that mostly repeat each other. A [`Transcript`] lays
//! them on top of each other:
//!
//! ```text
//! system ─ user ─ answer 1 ─ result ─ answer 2          the agent goes on: the branch grows
//!             │      └────── result ─ answer 3          it rewrote what happened: a new branch
//!             └─── answer 1'                            it asked the same twice: a retry
//! ```
//!
//! A question that holds an earlier one and its answer extends that branch; one that differs anywhere
//! starts a new branch there. Of answers to the very same question those live that the agent went on
//! with, or the last one when it went on with none: retries die out. Clients give calls other ids,
//! write arguments anew and trim texts; none of that is a rewritten history.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Answer, Message, Tokens, ToolCall, ToolSchema};

/// The tree of a session.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    nodes: Vec<Node>,
    /// The tools that each root was asked with.
    roots: Vec<(Vec<ToolSchema>, Vec<usize>)>,
    /// Answers that were recorded.
    answers: usize,
}

#[derive(Debug, Clone)]
struct Node {
    message: Message,
    parent: Option<usize>,
    root: usize,
    children: Vec<usize>,
    /// Which answer it is, if the model said it in this session: the number of the last time it did.
    said: Option<usize>,
    /// Tokens that the conversation held with it, where that is known.
    held: u64,
    /// Its own tokens, where they are known.
    tokens: Option<Tokens>,
}

/// One conversation from its beginning to an answer that nothing follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Branch {
    /// The tools that the model was offered.
    pub tools: Vec<ToolSchema>,
    /// The conversation.
    pub messages: Vec<Message>,
    /// Which of the messages the model said in this session, and no earlier branch has: to learn from
    /// every branch is to learn every answer once.
    pub own: Vec<usize>,
    /// The tokens of those messages, where the server behind told them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<usize, Tokens>,
}

impl Transcript {
    /// Records that the model gave `answer` to this conversation, in these tokens if they are known.
    pub fn record(
        &mut self,
        tools: &[ToolSchema],
        conversation: &[Message],
        answer: &Answer,
        tokens: Option<Tokens>,
    ) {
        let (root, mut at) = self.walk(tools, conversation);
        let root = root.unwrap_or_else(|| {
            self.roots.push((tools.to_vec(), Vec::new()));
            self.roots.len() - 1
        });
        for message in &conversation[self.depth(at)..] {
            let message = self.answering(at, message.clone());
            at = Some(self.grow(root, at, message));
        }
        let said = Message::Assistant {
            content: answer.content.clone(),
            reasoning: answer.reasoning.clone(),
            tool_calls: answer.tool_calls.clone(),
        };
        let found = self.below(root, at).iter().copied();
        let known = found.into_iter().find(|child| same(&self.nodes[*child].message, &said));
        let place = known.unwrap_or_else(|| self.grow(root, at, said.clone()));
        let node = &mut self.nodes[place];
        if node.said.is_none() {
            // What the agent wrote in its name is now what it said, to the letter.
            node.message = said;
            node.tokens = tokens;
        }
        node.said = Some(self.answers);
        node.held = answer.usage.input + answer.usage.output;
        self.answers += 1;
    }

    /// Tokens that a conversation holds at least: those of the longest part of it that ends with an
    /// answer of this session.
    pub fn held(&self, tools: &[ToolSchema], conversation: &[Message]) -> u64 {
        let (_, mut at) = self.walk(tools, conversation);
        while let Some(place) = at {
            let node = &self.nodes[place];
            if node.said.is_some() {
                return node.held;
            }
            at = node.parent;
        }
        0
    }

    /// How many answers were recorded, retries among them.
    pub fn answers(&self) -> usize {
        self.answers
    }

    /// All branches, in the order in which they were last answered.
    pub fn branches(&self) -> Vec<Branch> {
        let mut ends: Vec<usize> =
            (0..self.nodes.len()).filter(|place| self.is_end(*place)).collect();
        ends.sort_by_key(|place| self.nodes[*place].said);
        let mut told = vec![false; self.nodes.len()];
        ends.into_iter().map(|end| self.branch(end, &mut told)).collect()
    }

    /// The place of the main branch among [`Transcript::branches`]: the one with the most answers in
    /// it, the last of them when there are several. An agent that rewrites what it was asked with
    /// every turn has all of its episode in it; one that has a title made on the side has not that.
    pub fn main(branches: &[Branch]) -> Option<usize> {
        let answers = |branch: &Branch| {
            let is_answer = |message: &&Message| matches!(message, Message::Assistant { .. });
            branch.messages.iter().filter(is_answer).count()
        };
        (0..branches.len()).max_by_key(|place| (answers(&branches[*place]), *place))
    }

    /// A result with the id of the call that it belongs to, where a client gave both another: the one
    /// that reads alike, else the one in the same place.
    fn answering(&self, at: Option<usize>, message: Message) -> Message {
        let Message::Tool { tool_call_id, content } = message else {
            return message;
        };
        let (mut place, mut at) = (0, at);
        while let Some(node) = at.map(|at| &self.nodes[at])
            && matches!(node.message, Message::Tool { .. })
        {
            place += 1;
            at = node.parent;
        }
        let calls = match at.map(|at| &self.nodes[at].message) {
            Some(Message::Assistant { tool_calls, .. }) => tool_calls.as_slice(),
            _ => &[],
        };
        let plain = |id: &str| id.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        let exact = calls.iter().find(|call| call.id == tool_call_id);
        let alike = || calls.iter().find(|call| plain(&call.id) == plain(&tool_call_id));
        let call = exact.or_else(alike).or_else(|| calls.get(place));
        let tool_call_id = call.map_or(tool_call_id, |call| call.id.clone());
        Message::Tool { tool_call_id, content }
    }

    /// The longest known beginning of a conversation: its root, and the last message of it.
    fn walk(
        &self,
        tools: &[ToolSchema],
        conversation: &[Message],
    ) -> (Option<usize>, Option<usize>) {
        let Some(root) = self.roots.iter().position(|(known, _)| known == tools) else {
            return (None, None);
        };
        let mut at = None;
        for message in conversation {
            let mut below = self.below(root, at).iter().copied();
            match below.find(|child| same(&self.nodes[*child].message, message)) {
                Some(child) => at = Some(child),
                None => break,
            }
        }
        (Some(root), at)
    }

    fn depth(&self, at: Option<usize>) -> usize {
        let mut depth = 0;
        let mut at = at;
        while let Some(place) = at {
            depth += 1;
            at = self.nodes[place].parent;
        }
        depth
    }

    fn below(&self, root: usize, at: Option<usize>) -> &[usize] {
        at.map_or(&self.roots[root].1, |place| &self.nodes[place].children)
    }

    fn grow(&mut self, root: usize, parent: Option<usize>, message: Message) -> usize {
        let place = self.nodes.len();
        let (children, said, held, tokens) = (Vec::new(), None, 0, None);
        self.nodes.push(Node { message, parent, root, children, said, held, tokens });
        match parent {
            Some(parent) => self.nodes[parent].children.push(place),
            None => self.roots[root].1.push(place),
        }
        place
    }

    /// Whether a branch ends here: an answer that nothing follows, and that is no retry that died out.
    fn is_end(&self, place: usize) -> bool {
        let node = &self.nodes[place];
        if node.said.is_none() || !node.children.is_empty() {
            return false;
        }
        let beside = self.below(node.root, node.parent).iter().filter(|other| **other != place);
        let mut others =
            beside.map(|other| &self.nodes[*other]).filter(|other| other.said.is_some());
        !others.any(|other| !other.children.is_empty() || other.said > node.said)
    }

    fn branch(&self, end: usize, told: &mut [bool]) -> Branch {
        let mut path = Vec::new();
        let mut at = Some(end);
        while let Some(place) = at {
            path.push(place);
            at = self.nodes[place].parent;
        }
        path.reverse();
        let mut own = Vec::new();
        for (index, place) in path.iter().enumerate() {
            if self.nodes[*place].said.is_some() && !std::mem::replace(&mut told[*place], true) {
                own.push(index);
            }
        }
        let messages = path.iter().map(|place| self.nodes[*place].message.clone()).collect();
        let known = |index: &usize| Some((*index, self.nodes[path[*index]].tokens.clone()?));
        let tokens = own.iter().filter_map(known).collect();
        Branch { tools: self.roots[self.nodes[end].root].0.clone(), messages, own, tokens }
    }
}

/// Whether two messages say the same. What a model thought is not sent back, ids are made anew, and
/// texts lose the space around them on their way through clients.
fn same(one: &Message, other: &Message) -> bool {
    use Message::{Assistant, System, Tool, User};
    match (one, other) {
        (System { content: one }, System { content: other })
        | (User { content: one }, User { content: other })
        | (Tool { content: one, .. }, Tool { content: other, .. }) => one == other,
        (
            Assistant { content: one, tool_calls: calls, .. },
            Assistant { content: other, tool_calls: others, .. },
        ) => {
            let alike = |(one, other): (&ToolCall, &ToolCall)| {
                one.name == other.name && one.arguments == other.arguments
            };
            one.trim() == other.trim()
                && calls.len() == others.len()
                && calls.iter().zip(others).all(alike)
        }
        _ => false,
    }
}
