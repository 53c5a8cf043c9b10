//! A checkpoint as a model that answers requests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::oneshot;

use super::{Cache, Checkpoint, Decoder, Sampling, Tokenizer, parse, render};
use crate::model::{Answer, Finish, Message, Model, ModelError, Request, ToolCall, Usage};

/// Conversations whose reading is kept, so that a next turn reads only what is new.
const KEPT: usize = 32;

/// A model that was trained here (or elsewhere, in the same shape), run in this process.
///
/// Decoding happens on rayon's threads, never on those that run the futures. Of what was read before,
/// the longest common beginning is used again; the answer is the same with and without.
pub struct CheckpointModel {
    inner: Arc<Inner>,
}

struct Inner {
    tokenizer: Tokenizer,
    decoder: Decoder,
    context: usize,
    /// The most recently used last.
    kept: Mutex<Vec<Cache>>,
}

impl CheckpointModel {
    /// Makes a checkpoint ready to answer.
    pub fn new(checkpoint: &Checkpoint) -> CheckpointModel {
        CheckpointModel {
            inner: Arc::new(Inner {
                tokenizer: checkpoint.tokenizer.clone(),
                decoder: Decoder::new(checkpoint),
                context: checkpoint.config.context,
                kept: Mutex::new(Vec::new()),
            }),
        }
    }
}

impl Model for CheckpointModel {
    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelError>> {
        let inner = Arc::clone(&self.inner);
        let request = request.clone();
        let (sender, receiver) = oneshot::channel();
        async move {
            rayon::spawn(move || {
                // A panic in a rayon task would end the whole program.
                let answer = catch_unwind(AssertUnwindSafe(|| {
                    inner.answer(&request, &|| sender.is_closed())
                }));
                let answer = answer.map_err(|_| {
                    ModelError::Unavailable(
                        "the model broke while it was decoding: a defect in claw".into(),
                    )
                });
                // Nobody is waiting any more when the request was dropped.
                let _ = sender.send(answer);
            });
            receiver
                .await
                .unwrap_or_else(|_| Err(ModelError::Unavailable("decoding was cut off".into())))
        }
        .boxed()
    }
}

impl Inner {
    /// Answers; `given_up` is asked before each token.
    fn answer(&self, request: &Request, given_up: &dyn Fn() -> bool) -> Answer {
        let prompt = render(&self.tokenizer, &request.messages, true).tokens;
        let usage = |output: usize| Usage { input: prompt.len() as u64, output: output as u64 };
        if prompt.len() >= self.context {
            let (content, tool_calls) = (String::new(), Vec::new());
            let (finish, usage) = (Finish::Context, usage(0));
            return Answer { content, reasoning: String::new(), tool_calls, finish, usage };
        }
        let mut cache = self.take(&prompt);
        self.decoder.read(&mut cache, &prompt);
        let settings = &request.settings;
        let mut sampling = Sampling::new(settings.temperature, settings.seed);
        let marks = self.tokenizer.marks();
        let mut written = Vec::new();
        let mut finish = Finish::Length;
        while written.len() < settings.max_tokens as usize {
            let next = sampling.choose(cache.logits());
            if next == marks.end_of_turn || next == marks.end_of_text {
                finish = Finish::Stop;
                break;
            }
            written.push(next);
            if cache.tokens().len() == self.context {
                finish = Finish::Context;
                break;
            }
            if given_up() {
                break;
            }
            self.decoder.push(&mut cache, next);
        }
        self.keep(cache);

        let text = self.tokenizer.decode(&written);
        let (content, calls) = parse(&String::from_utf8_lossy(&text));
        if finish == Finish::Stop && !calls.is_empty() {
            finish = Finish::ToolCalls;
        }
        let before = calls_in(&request.messages);
        let tool_calls = calls
            .into_iter()
            .zip(before + 1..)
            .map(|(call, number)| ToolCall {
                id: format!("call_{number}"),
                name: call.name,
                arguments: call.arguments,
            })
            .collect();
        // The mark that ends the turn was written too.
        let ended = usize::from(matches!(finish, Finish::Stop | Finish::ToolCalls));
        let usage = usage(written.len() + ended);
        Answer { content, reasoning: String::new(), tool_calls, finish, usage }
    }

    /// The kept reading that begins most like `prompt`; an empty one when none shares anything.
    fn take(&self, prompt: &[u32]) -> Cache {
        let shared =
            |cache: &Cache| cache.tokens().iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let best = (0..kept.len()).max_by_key(|i| shared(&kept[*i]));
        match best {
            // The opening of every conversation is the same; taking another's reading for that
            // would only lose it.
            Some(i) if shared(&kept[i]) * 2 > kept[i].tokens().len() => kept.remove(i),
            _ => Cache::default(),
        }
    }

    fn keep(&self, cache: Cache) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push(cache);
    }
}

/// Calls that the conversation already holds.
fn calls_in(messages: &[Message]) -> usize {
    let calls = |message: &Message| match message {
        Message::Assistant { tool_calls, .. } => tool_calls.len(),
        _ => 0,
    };
    messages.iter().map(calls).sum()
}
