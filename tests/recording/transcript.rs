//! The tree of a session, against what its definition says of every session.

use claw::model::endpoint::{Branch, Transcript};
use claw::model::{Answer, Finish, Message, ToolCall, ToolSchema, Usage};
use proptest::prelude::*;
use serde_json::json;

/// What an agent does next.
#[derive(Debug, Clone)]
enum Step {
    /// Goes on after one of its answers.
    On(usize),
    /// Goes on after one of its answers, with the message at this place said otherwise.
    Rewrite(usize, usize),
    /// Asks one of its questions again, and hears the same or something else.
    Again(usize, bool),
    /// Begins a conversation about something else.
    Fresh,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = any::<prop::sample::Index>;
    let step = (0..4_u8, place(), place(), any::<bool>()).prop_map(|(kind, one, two, same)| {
        let (one, two) = (one.index(1 << 20), two.index(1 << 20));
        match kind {
            0 | 3 if one % 7 == 0 => Step::Fresh,
            0 | 3 => Step::On(one),
            1 => Step::Rewrite(one, two),
            _ => Step::Again(one, same),
        }
    });
    prop::collection::vec(step, 1..24)
}

/// A session as it was: every question with its answer.
#[derive(Debug, Default)]
struct Session {
    asked: Vec<(Vec<Message>, Answer)>,
    words: usize,
}

impl Session {
    fn of(steps: &[Step]) -> Session {
        let mut session = Session::default();
        session.begin();
        for step in steps {
            let count = session.asked.len();
            match step {
                Step::Fresh => session.begin(),
                Step::On(at) => {
                    let question = session.after(at % count);
                    session.ask(question);
                }
                Step::Rewrite(at, place) => {
                    let mut question = session.after(at % count);
                    let place = place % question.len();
                    let text = session.word();
                    match &mut question[place] {
                        Message::System { content }
                        | Message::User { content }
                        | Message::Tool { content, .. }
                        | Message::Assistant { content, .. } => content.push_str(&text),
                    }
                    session.ask(question);
                }
                Step::Again(at, same) => {
                    let (question, answer) = session.asked[at % count].clone();
                    if *same {
                        session.asked.push((question, answer));
                    } else {
                        session.ask(question);
                    }
                }
            }
        }
        session
    }

    fn word(&mut self) -> String {
        self.words += 1;
        format!("word {}", self.words)
    }

    fn begin(&mut self) {
        let content = self.word();
        let system = Message::System { content: "Be brief.".to_string() };
        self.ask(vec![system, Message::User { content }]);
    }

    /// Half of the answers call a tool.
    fn ask(&mut self, question: Vec<Message>) {
        let word = self.word();
        let calls = self.words.is_multiple_of(2);
        let id = format!("call_{}", self.words);
        let arguments = json!({ "path": word, "n": self.words });
        let call = ToolCall { id, name: "read".to_string(), arguments };
        let answer = Answer {
            content: if calls { String::new() } else { word },
            reasoning: format!("thought {}", self.words),
            tool_calls: if calls { vec![call] } else { Vec::new() },
            finish: if calls { Finish::ToolCalls } else { Finish::Stop },
            usage: Usage { input: self.words as u64, output: 1 },
        };
        self.asked.push((question, answer));
    }

    /// The question that goes on after an answer.
    fn after(&mut self, at: usize) -> Vec<Message> {
        let mut conversation = self.whole(at);
        let content = self.word();
        let calls = self.asked[at].1.tool_calls.first();
        conversation.push(match calls {
            Some(call) => Message::Tool { tool_call_id: call.id.clone(), content },
            None => Message::User { content },
        });
        conversation
    }

    /// A question and its answer.
    fn whole(&self, at: usize) -> Vec<Message> {
        let (question, answer) = &self.asked[at];
        let mut whole = question.clone();
        whole.push(said(answer));
        whole
    }

    fn continued(&self, at: usize) -> bool {
        let whole = self.whole(at);
        self.asked.iter().any(|(question, _)| question.starts_with(&whole))
    }

    /// The branches as the definition has them, in order.
    fn branches(&self) -> Vec<Vec<Message>> {
        let count = self.asked.len();
        let ends = (0..count).filter(|&at| {
            let beside = |other: &usize| self.asked[*other].0 == self.asked[at].0;
            let dies = (0..count).filter(beside).any(|other| other > at || self.continued(other));
            !self.continued(at) && !dies
        });
        ends.map(|at| self.whole(at)).collect()
    }

    fn record(&self, mangle: fn(&[Message]) -> Vec<Message>) -> Transcript {
        let mut transcript = Transcript::default();
        for (question, answer) in &self.asked {
            transcript.record(&[], &mangle(question), answer, None);
        }
        transcript
    }
}

fn said(answer: &Answer) -> Message {
    Message::Assistant {
        content: answer.content.clone(),
        reasoning: answer.reasoning.clone(),
        tool_calls: answer.tool_calls.clone(),
    }
}

fn exactly(question: &[Message]) -> Vec<Message> {
    question.to_vec()
}

/// What clients do to a history without meaning anything by it.
fn carelessly(question: &[Message]) -> Vec<Message> {
    let careless = |message: &Message| match message.clone() {
        Message::Assistant { content, tool_calls, .. } => Message::Assistant {
            content: format!("{content}\n"),
            reasoning: String::new(),
            tool_calls: tool_calls
                .into_iter()
                .map(|call| ToolCall { id: call.id.replace('_', ""), ..call })
                .collect(),
        },
        Message::Tool { tool_call_id, content } => {
            Message::Tool { tool_call_id: tool_call_id.replace('_', ""), content }
        }
        other => other,
    };
    question.iter().map(careless).collect()
}

/// Messages without what careless clients change.
fn meaning(messages: &[Message]) -> Vec<Message> {
    let mut messages = carelessly(messages);
    for message in &mut messages {
        if let Message::Assistant { content, .. } = message {
            *content = content.trim().to_string();
        }
    }
    messages
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn branches_are_what_their_definition_says(steps in steps()) {
        let session = Session::of(&steps);
        let branches = session.record(exactly).branches();
        let conversations: Vec<Vec<Message>> =
            branches.iter().map(|branch| branch.messages.clone()).collect();
        prop_assert_eq!(conversations, session.branches());
    }

    #[test]
    fn every_answer_that_lives_is_learnt_from_once(steps in steps()) {
        let session = Session::of(&steps);
        let branches = session.record(exactly).branches();
        let mut learnt: Vec<Vec<Message>> = Vec::new();
        for branch in &branches {
            for &own in &branch.own {
                learnt.push(branch.messages[..=own].to_vec());
            }
        }
        // The answers on the way of some branch, as they were given.
        let mut lived: Vec<Vec<Message>> = (0..session.asked.len())
            .map(|at| session.whole(at))
            .filter(|whole| branches.iter().any(|branch| branch.messages.starts_with(whole)))
            .collect();
        lived.dedup();
        for whole in &lived {
            let times = learnt.iter().filter(|one| *one == whole).count();
            prop_assert_eq!(times, 1);
        }
        let known = learnt.iter().all(|one| lived.contains(one));
        prop_assert!(known);
        // What does not live are retries alone: the very same question has another answer that does.
        for (question, answer) in &session.asked {
            let mut whole = question.clone();
            whole.push(said(answer));
            let retried = session.asked.iter().any(|(other, said)| other == question && said != answer);
            prop_assert!(lived.contains(&whole) || retried);
        }
    }

    #[test]
    fn careless_clients_rewrite_nothing(steps in steps()) {
        let session = Session::of(&steps);
        // Where the agent did rewrite something, what it copied stands there as it copied it.
        let meant = |mut branches: Vec<Branch>| {
            for branch in &mut branches {
                branch.messages = meaning(&branch.messages);
            }
            branches
        };
        let careless = meant(session.record(carelessly).branches());
        prop_assert_eq!(careless, meant(session.record(exactly).branches()));
    }

    #[test]
    fn a_session_that_only_goes_on_is_one_branch(count in 1_usize..12) {
        let mut session = Session::default();
        session.begin();
        for at in 0..count {
            let question = session.after(at);
            session.ask(question);
        }
        let branches = session.record(carelessly).branches();
        let whole = session.whole(count);
        let answers: Vec<usize> = (0..whole.len())
            .filter(|&at| matches!(whole[at], Message::Assistant { .. }))
            .collect();
        let tokens = Default::default();
        prop_assert_eq!(
            branches,
            vec![Branch { tools: Vec::new(), messages: whole, own: answers, tokens }]
        );
    }
}

#[test]
fn what_a_conversation_holds_is_what_its_last_answer_said() {
    let mut session = Session::default();
    session.begin();
    let question = session.after(0);
    session.ask(question);
    let transcript = session.record(exactly);
    let next = session.after(1);
    let counted = |at: usize| session.asked[at].1.usage.input + 1;
    assert_eq!(transcript.held(&[], &carelessly(&next)), counted(1));
    assert_eq!(transcript.held(&[], &session.asked[1].0), counted(0));
    assert_eq!(transcript.held(&[], &session.asked[0].0), 0);
}

#[test]
fn other_tools_are_another_conversation() {
    let tool =
        ToolSchema { name: "read".to_string(), description: String::new(), parameters: json!({}) };
    let mut session = Session::default();
    session.begin();
    let (question, answer) = &session.asked[0];
    let mut transcript = Transcript::default();
    transcript.record(&[], question, answer, None);
    transcript.record(std::slice::from_ref(&tool), question, answer, None);
    let branches = transcript.branches();
    assert_eq!(branches.len(), 2);
    assert_eq!((branches[0].tools.len(), branches[1].tools.as_slice()), (0, &[tool][..]));
    assert_eq!(branches[1].own, [2], "it was said in both");
}

/// An agent whose last message changes with every turn has a branch a turn; the last one holds it all.
#[test]
fn the_main_branch_is_the_one_with_most_answers() {
    let mut transcript = Transcript::default();
    let user = |content: &str| Message::User { content: content.to_string() };
    let answer = |content: &str| Answer {
        content: content.to_string(),
        reasoning: String::new(),
        tool_calls: Vec::new(),
        finish: Finish::Stop,
        usage: Usage::default(),
    };
    let mut history = vec![user("Do it.")];
    for turn in 0..4 {
        let mut question = history.clone();
        question.push(user(&format!("[it is {turn} o'clock]")));
        let said_now = answer(&format!("turn {turn}"));
        transcript.record(&[], &question, &said_now, None);
        history.push(said(&said_now));
        history.push(user(&format!("result {turn}")));
    }
    transcript.record(&[], &[user("A title for this?")], &answer("Work"), None);
    let branches = transcript.branches();
    assert_eq!(branches.len(), 5);
    assert_eq!(Transcript::main(&branches), Some(3));
    assert_eq!(branches[3].messages.len(), 1 + 3 * 2 + 2);
    assert!(branches.iter().all(|branch| branch.own == [branch.messages.len() - 1]));
    assert_eq!(Transcript::main(&[]), None);
}
