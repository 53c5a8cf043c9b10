//! One session: who may ask, how much, and what was said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::engine::OverBudget;
use crate::model::{
    Answer, Finish, Message, Model, ModelError, Request, Tokens, ToolSchema, Usage,
};
use crate::store::{Digest, KeyHasher};

use super::chat::Asked;
use super::transcript::Transcript;

/// What a session may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// Answers at most.
    pub answers: u64,
    /// Tokens of one answer at most.
    pub answer_tokens: u32,
    /// Tokens that one conversation may hold before it is told to be too long.
    pub context: u64,
    /// Tokens read and written over all answers; `None` for as many as there are.
    pub tokens: Option<u64>,
}

/// Why a session is over before the agent is.
#[derive(Debug, Clone)]
pub enum Over {
    /// It has had all its answers.
    Answers,
    /// It has used all its tokens.
    Tokens,
    /// The model could not be asked: the world's failure.
    Unavailable(String),
    /// The stage may not spend what the next answer may cost.
    Budget(OverBudget),
    /// Nobody may be asked, and the answer is not recorded.
    Offline(String),
}

impl Over {
    /// What the agent is told.
    fn told(&self) -> String {
        match self {
            Over::Answers => "this session has had all its answers".to_string(),
            Over::Tokens => "this session has used all its tokens".to_string(),
            Over::Unavailable(why) => format!("the model cannot be asked: {why}"),
            Over::Budget(over) => over.to_string(),
            Over::Offline(why) => why.clone(),
        }
    }
}

/// Why a question gets no answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It cannot be understood or passed on.
    Bad(String),
    /// The conversation is too long.
    Context(String),
    /// The model does not want to.
    Refused(String),
    /// The session is over.
    Over(String),
}

/// What was said in a session, when it is at its end.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its conversations.
    pub transcript: Transcript,
    /// Tokens of each answer, in the order in which they were given.
    pub usage: Vec<Usage>,
    /// Settings that were asked for and did not reach the model, by name.
    pub ignored: Vec<String>,
    /// Why it was over before the agent was.
    pub over: Option<Over>,
    /// The last question got no answer because the conversation was too long.
    pub too_long: bool,
    /// The last question got no answer because the model refused it: why, and what it said.
    pub refused: Option<(String, String)>,
}

/// A session of an endpoint: one agent, one model.
pub struct Session {
    model: Arc<dyn Model>,
    name: String,
    temperature: Option<f64>,
    seed: u64,
    allowance: Allowance,
    heard: Mutex<Heard>,
    over: Notify,
}

#[derive(Default)]
struct Heard {
    transcript: Transcript,
    usage: Vec<Usage>,
    /// Answers that are given or under way.
    begun: u64,
    /// How often each question was answered.
    questions: BTreeMap<Digest, u64>,
    ids: BTreeSet<String>,
    ignored: BTreeSet<String>,
    over: Option<Over>,
    too_long: bool,
    refused: Option<(String, String)>,
}

impl Session {
    /// A session in which `model` answers under the name `name`. What the program says of the
    /// temperature holds, whatever the agent asks for; chance comes from `seed` alone.
    pub fn new(
        model: Arc<dyn Model>,
        name: impl Into<String>,
        temperature: Option<f64>,
        seed: u64,
        allowance: Allowance,
    ) -> Arc<Session> {
        Arc::new(Session {
            model,
            name: name.into(),
            temperature,
            seed,
            allowance,
            heard: Mutex::default(),
            over: Notify::new(),
        })
    }

    /// The name that its model goes by.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until the session is over before the agent is.
    pub async fn over(&self) {
        loop {
            let told = self.over.notified();
            tokio::pin!(told);
            // From here on the end is not missed.
            told.as_mut().enable();
            if self.heard().over.is_some() {
                return;
            }
            told.await;
        }
    }

    /// What was said so far.
    pub fn record(&self) -> Record {
        let heard = self.heard();
        Record {
            transcript: heard.transcript.clone(),
            usage: heard.usage.clone(),
            ignored: heard.ignored.iter().cloned().collect(),
            over: heard.over.clone(),
            too_long: heard.too_long,
            refused: heard.refused.clone(),
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, heard: &mut Heard, why: Over) -> Refusal {
        let told = Refusal::Over(why.told());
        heard.over.get_or_insert(why);
        self.over.notify_waiters();
        told
    }

    /// Answers a question. With the answer comes its number in the session.
    pub(super) async fn answer(&self, asked: &Asked) -> Result<(Answer, usize), Refusal> {
        let question = question(&asked.request, asked)?;
        let mut request = asked.request.clone();
        let settings = &mut request.settings;
        settings.temperature = self.temperature.or(asked.temperature).unwrap_or(0.0);
        let most = self.allowance.answer_tokens;
        settings.max_tokens = asked.max_tokens.map_or(most, |asked| asked.min(most));
        settings.seed = self.admit(asked, question)?;
        let mut place = Place { session: self, given: false };
        match self.model.answer_in_tokens(&request).await {
            Ok(heard) => self.told(asked, question, heard, place),
            Err(ModelError::Unavailable(why)) => {
                Err(self.end(&mut self.heard(), Over::Unavailable(why)))
            }
            Err(ModelError::Offline(why)) => Err(self.end(&mut self.heard(), Over::Offline(why))),
            Err(ModelError::Budget(over)) => Err(self.end(&mut self.heard(), Over::Budget(over))),
            Err(ModelError::Refused { message, output }) => {
                // It counts: an agent that asks the same for ever must come to an end.
                place.given = true;
                self.heard().refused = Some((message.clone(), output));
                Err(Refusal::Refused(message))
            }
        }
    }

    /// Whether one more question may be asked; its seed. The same question is another one when it
    /// has been answered before.
    fn admit(&self, asked: &Asked, question: Digest) -> Result<u64, Refusal> {
        let mut heard = self.heard();
        heard.ignored.extend(asked.ignored.iter().cloned());
        if let Some(over) = &heard.over {
            return Err(Refusal::Over(over.told()));
        }
        let used = heard.usage.iter().map(|usage| usage.input + usage.output).sum::<u64>();
        if self.allowance.tokens.is_some_and(|tokens| used >= tokens) {
            return Err(self.end(&mut heard, Over::Tokens));
        }
        if heard.begun >= self.allowance.answers {
            return Err(self.end(&mut heard, Over::Answers));
        }
        let Request { messages, tools, .. } = &asked.request;
        let held = heard.transcript.held(tools, messages);
        if held >= self.allowance.context {
            return Err(too_long(&mut heard, self.allowance.context));
        }
        heard.begun += 1;
        let before = heard.questions.get(&question).copied().unwrap_or(0);
        let mut key = KeyHasher::new("claw session answer 1");
        Ok(key.number(self.seed).digest(&question).number(before).finish().seed())
    }

    fn told(
        &self,
        asked: &Asked,
        question: Digest,
        (mut answer, tokens): (Answer, Option<Tokens>),
        mut place: Place<'_>,
    ) -> Result<(Answer, usize), Refusal> {
        let mut heard = self.heard();
        place.given = true;
        heard.usage.push(answer.usage);
        *heard.questions.entry(question).or_default() += 1;
        if answer.finish == Finish::Context {
            return Err(too_long(&mut heard, self.allowance.context));
        }
        // Which tokens belong to the part in front of a stop text nobody tells.
        let tokens = if cut(&mut answer, &asked.stop) { None } else { tokens };
        for call in &mut answer.tool_calls {
            call.id = own_id(&mut heard.ids, &call.id);
        }
        heard.transcript.record(&asked.request.tools, &asked.request.messages, &answer, tokens);
        heard.too_long = false;
        heard.refused = None;
        let number = heard.transcript.answers();
        Ok((answer, number))
    }
}

/// An answer that was begun. When it is given up, another may be asked for.
struct Place<'a> {
    session: &'a Session,
    given: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.given {
            self.session.heard().begun -= 1;
        }
    }
}

fn too_long(heard: &mut Heard, context: u64) -> Refusal {
    heard.too_long = true;
    // OpenAI's words, which clients look for.
    let most = match context {
        u64::MAX => "exceeded".to_string(),
        tokens => format!("{tokens} tokens"),
    };
    Refusal::Context(format!(
        "This model's maximum context length is {most}. Please reduce the length of the messages."
    ))
}

/// All of a question that may change its answer.
fn question(request: &Request, asked: &Asked) -> Result<Digest, Refusal> {
    let part = |json: serde_json::Result<Vec<u8>>| {
        json.map(|bytes| Digest::of(&bytes)).map_err(|err| Refusal::Bad(err.to_string()))
    };
    let messages: &Vec<Message> = &request.messages;
    let tools: &Vec<ToolSchema> = &request.tools;
    let settings = (asked.temperature, asked.max_tokens, &asked.stop);
    let mut key = KeyHasher::new("claw session question 1");
    key.digest(&part(serde_json::to_vec(messages))?);
    key.digest(&part(serde_json::to_vec(tools))?);
    key.digest(&part(serde_json::to_vec(&settings))?);
    Ok(key.finish())
}

/// Ends an answer in front of the first of these texts. Whether one is in it.
fn cut(answer: &mut Answer, stop: &[String]) -> bool {
    let ends = stop.iter().filter_map(|stop| answer.content.find(stop.as_str())).min();
    if let Some(end) = ends {
        answer.content.truncate(end);
        answer.tool_calls.clear();
        answer.finish = Finish::Stop;
    }
    ends.is_some()
}

/// The id of a call, or another where the model gave none or gave it before: a result must name one
/// call.
fn own_id(ids: &mut BTreeSet<String>, given: &str) -> String {
    if !given.is_empty() && ids.insert(given.to_string()) {
        return given.to_string();
    }
    let mut number = ids.len() + 1;
    loop {
        let id = format!("call_{number}");
        if ids.insert(id.clone()) {
            return id;
        }
        number += 1;
    }
}
