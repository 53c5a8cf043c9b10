//! The episode: a model answers, its calls are done, it sees what they gave, and so on to an end.
//!
//! An answer counts as a step. All calls of an answer are done, in their order, before the model is
//! asked again. Every end has a name ([`Ending`]); two of them are the world's failure, not the
//! model's, and the caller must not make a run of them. A model that refuses a request because the
//! answer might not fit is asked for a shorter one first ([`allowance`]).
//!
//! Clocks touch only one thing, the ending `timeout`: no duration is written down, and the clock is
//! looked at between calls alone, so that no text that a model sees depends on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::{CallError, Cancel};
use crate::model::{Finish, Message, Model, ModelError, Request, Settings, Usage};
use crate::sandbox::Sandbox;
use crate::store::{Digest, KeyHasher};

use super::allowance;
use super::contract::{CallLimits, Contract};
use super::settings::AgentSettings;
use super::trajectory::{Ending, Trajectory};

/// What an episode is about.
pub struct Episode<'a> {
    /// The tools.
    pub contract: &'a dyn Contract,
    /// Steps, tokens, time.
    pub settings: &'a AgentSettings,
    /// Who acts.
    pub model: Arc<dyn Model>,
    /// The model's name, for the trajectory.
    pub model_name: String,
    /// The model's settings, for the trajectory.
    pub model_settings: serde_json::Value,
    /// How freely the model chooses its words; 0 is greedy.
    pub temperature: f64,
    /// What is asked of it.
    pub prompt: &'a str,
    /// The workspace that the sandbox was opened on.
    pub before: Digest,
    /// The only source of chance.
    pub seed: u64,
}

/// When an episode must stop, whatever the model wants.
#[derive(Debug, Clone)]
pub struct Bounds {
    deadline: Option<Instant>,
    cancel: Cancel,
}

impl Bounds {
    /// From now on, for `time_ms` milliseconds or until `cancel` is set.
    pub fn from_now(time_ms: u64, cancel: Cancel) -> Bounds {
        Bounds { deadline: Instant::now().checked_add(Duration::from_millis(time_ms)), cancel }
    }

    fn is_past(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// Plays an episode in an open sandbox, which stays open. The trajectory's `after` and `refused` are
/// for the caller to fill in. With an ending that is the world's failure comes what went wrong.
/// `None` when it was cancelled.
pub async fn episode(
    episode: &Episode<'_>,
    sandbox: &mut dyn Sandbox,
    bounds: &Bounds,
) -> Option<(Trajectory, Option<CallError>)> {
    let mut play = Play::new(episode);
    let (ending, fault) = loop {
        if bounds.cancel.is_cancelled() {
            return None;
        }
        if bounds.is_past() {
            break (Ending::Timeout, None);
        }
        match play.step(episode, sandbox, bounds).await {
            Step::Goes => {}
            Step::Ends(ending, fault) => break (ending, fault),
        }
    };
    Some((play.trajectory(episode, ending), fault))
}

enum Step {
    Goes,
    Ends(Ending, Option<CallError>),
}

struct Play {
    request: Request,
    limits: CallLimits,
    errors: Vec<String>,
    usage: Vec<Usage>,
    ids: BTreeSet<String>,
}

impl Play {
    fn new(episode: &Episode<'_>) -> Play {
        let system = episode.contract.system();
        let mut messages = Vec::new();
        if !system.is_empty() {
            messages.push(Message::System { content: system });
        }
        messages.push(Message::User { content: episode.contract.ask(episode.prompt) });
        let request = Request {
            messages,
            tools: episode.contract.tools().to_vec(),
            settings: Settings {
                temperature: episode.temperature,
                max_tokens: episode.settings.step_tokens,
                seed: 0,
            },
        };
        let limits = CallLimits { exec_ms: episode.settings.exec_ms, ..CallLimits::default() };
        let (errors, usage, ids) = (Vec::new(), Vec::new(), BTreeSet::new());
        Play { request, limits, errors, usage, ids }
    }

    async fn step(
        &mut self,
        episode: &Episode<'_>,
        sandbox: &mut dyn Sandbox,
        bounds: &Bounds,
    ) -> Step {
        let settings = episode.settings;
        if self.usage.len() as u64 >= u64::from(settings.max_steps) {
            return Step::Ends(Ending::MaxSteps, None);
        }
        let held = self.usage.last().map_or(0, |usage| usage.input + usage.output);
        if held >= settings.context {
            return Step::Ends(Ending::Context, None);
        }
        if let Some(tokens) = settings.tokens {
            let used: u64 = self.usage.iter().map(|usage| usage.input + usage.output).sum();
            if used >= tokens {
                return Step::Ends(Ending::MaxTokens, None);
            }
        }
        self.request.settings.seed = KeyHasher::new("claw step 1")
            .number(episode.seed)
            .number(self.usage.len() as u64)
            .finish()
            .seed();
        let manners = episode.contract.manners();
        if manners.countdown {
            self.count_down(u64::from(settings.max_steps) - self.usage.len() as u64);
        }
        let mut answer = loop {
            match episode.model.answer(&self.request).await {
                Ok(answer) => break answer,
                Err(err @ ModelError::Offline(_)) => {
                    return Step::Ends(Ending::ModelError, Some(err.into()));
                }
                Err(err) => {
                    let asked = self.request.settings.max_tokens;
                    match allowance::smaller(&err.to_string(), asked) {
                        Some(smaller) => self.request.settings.max_tokens = smaller,
                        None => return Step::Ends(Ending::ModelError, Some(err.into())),
                    }
                }
            }
        };
        self.usage.push(answer.usage);
        if answer.finish == Finish::Context {
            return Step::Ends(Ending::Context, None);
        }
        for call in &mut answer.tool_calls {
            call.id = self.own_id(&call.id);
        }
        let mut calls = answer.tool_calls.clone();
        if manners.first_call_alone {
            calls.truncate(1);
        }
        let said = Message::Assistant {
            content: answer.content,
            reasoning: answer.reasoning,
            tool_calls: answer.tool_calls,
        };
        self.request.messages.push(said);
        if answer.finish == Finish::Length {
            // Its last call may be cut off in the middle: none is done.
            return Step::Ends(Ending::MaxTokens, None);
        }
        if calls.is_empty() {
            let Some(nudge) = manners.nudge else {
                return Step::Ends(Ending::Answered, None);
            };
            self.request.messages.push(Message::User { content: nudge.to_string() });
            return Step::Goes;
        }
        let mut submitted = false;
        for call in calls {
            if bounds.is_past() {
                return Step::Ends(Ending::Timeout, None);
            }
            let result = match episode.contract.call(sandbox, &call, &self.limits).await {
                Ok(result) => result,
                Err(err) => {
                    let fault = CallError::Infrastructure(err.to_string());
                    return Step::Ends(Ending::SandboxError, Some(fault));
                }
            };
            if result.is_error {
                self.errors.push(call.id.clone());
            }
            submitted |= result.submitted;
            let observed = Message::Tool { tool_call_id: call.id, content: result.text };
            self.request.messages.push(observed);
        }
        if submitted { Step::Ends(Ending::Submitted, None) } else { Step::Goes }
    }

    /// Tells the model how many answers it has left.
    fn count_down(&mut self, left: u64) {
        if let Some(
            Message::System { content }
            | Message::User { content }
            | Message::Tool { content, .. }
            | Message::Assistant { content, .. },
        ) = self.request.messages.last_mut()
        {
            content.push_str(&format!("\nSteps Remaining: {left}"));
        }
    }

    /// The id of a call, or another where the model gave none or gave it before: a result must name
    /// one call.
    fn own_id(&mut self, given: &str) -> String {
        if !given.is_empty() && self.ids.insert(given.to_string()) {
            return given.to_string();
        }
        let mut number = self.ids.len() + 1;
        loop {
            let id = format!("call_{number}");
            if self.ids.insert(id.clone()) {
                return id;
            }
            number += 1;
        }
    }

    fn trajectory(self, episode: &Episode<'_>, ending: Ending) -> Trajectory {
        let versions = BTreeMap::from([("trajectory".to_string(), Trajectory::FORM.to_string())]);
        Trajectory {
            contract: episode.contract.name().to_string(),
            model: episode.model_name.clone(),
            settings: episode.model_settings.clone(),
            messages: self.request.messages,
            errors: self.errors,
            usage: self.usage,
            ending,
            before: episode.before,
            after: None,
            refused: Vec::new(),
            versions,
            outside: None,
        }
    }
}
