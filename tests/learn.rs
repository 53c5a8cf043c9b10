//! Training, decoding and the files in between, as other rooms use them.
//! (To be listed in tests/main.rs as `mod learn;`.)
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail and may write")]

use std::process::Command;

use claw::learn::{
    BaseSettings, Cache, Checkpoint, CheckpointModel, Config, Decoder, LearnError, Run, Sampling,
    SftSettings, Tokenizer, fine_tune, parse, pretrain, render,
};
use claw::model::{Finish, Message, Model, Request, Settings, ToolCall};
use claw::store::Digest;
use proptest::prelude::*;
use serde_json::{Value, json};

fn run(threads: usize) -> Run<'static> {
    Run { threads, cancel: &|| false, progress: &|_, _, _| {} }
}

/// A network that trains in a blink.
fn small() -> Config {
    Config { vocab: 400, width: 32, layers: 2, heads: 2, kv_heads: 1, hidden: 48, ..Config::tiny() }
}

fn texts() -> Vec<String> {
    vec!["Sort the names in the list, then write the sorted names to sorted.txt. ".repeat(20)]
}

fn base(steps: usize, threads: usize) -> Checkpoint {
    let settings = BaseSettings { config: small(), steps, batch: 12, ..BaseSettings::default() };
    pretrain(&settings, &texts(), &run(threads)).unwrap()
}

fn user(content: &str) -> Message {
    Message::User { content: content.into() }
}

fn says(content: &str) -> Message {
    Message::Assistant { content: content.into(), reasoning: String::new(), tool_calls: vec![] }
}

fn calls(content: &str, calls: &[(&str, Value)]) -> Message {
    let calls = calls.iter().enumerate().map(|(i, (name, arguments))| ToolCall {
        id: format!("call_{}", i + 1),
        name: name.to_string(),
        arguments: arguments.clone(),
    });
    Message::Assistant {
        content: content.into(),
        reasoning: String::new(),
        tool_calls: calls.collect(),
    }
}

fn result(content: &str) -> Message {
    Message::Tool { tool_call_id: "call_1".into(), content: content.into() }
}

/// A conversation with everything in it.
fn conversation() -> Vec<Message> {
    vec![
        Message::System { content: "Be brief.".into() },
        user("Count \"é\" <|im_end|> in a.txt"),
        calls(
            "Let me look.",
            &[
                ("exec", json!({"command": "grep -c 'a\\b' a.txt\n", "timeout": 3})),
                (
                    "edit",
                    json!({"path": "b", "edits": [{"oldText": "x\ty", "newText": "\u{1}z/"}]}),
                ),
            ],
        ),
        result("3\n"),
        result("ok"),
        calls("", &[("exec", json!({}))]),
        result("(no output)"),
        says("  Done: 3 lines.\n"),
    ]
}

fn lessons() -> Vec<Vec<Message>> {
    let words = ["plum", "pear", "lime", "fig", "kiwi", "date", "nut"];
    let lesson = |a: &str, b: &str| {
        vec![
            user(&format!("Move {a} to {b}.")),
            calls("", &[("exec", json!({"command": format!("mv {a} {b}")}))]),
            result("(no output)"),
            says("Done."),
        ]
    };
    words.iter().flat_map(|a| words.iter().map(move |b| lesson(a, b))).collect()
}

fn digest(checkpoint: &Checkpoint) -> Digest {
    let files = checkpoint.to_files().unwrap();
    Digest::of(&files.iter().find(|(name, _)| name == "model.safetensors").unwrap().1)
}

#[test]
fn threads_do_not_reach_the_weights() {
    let settings = SftSettings { steps: 6, batch: 11, warmup: 2, ..SftSettings::default() };
    let digests: Vec<Digest> = [1, 2, 4]
        .map(|threads| {
            let base = base(6, threads);
            digest(&fine_tune(&base, &lessons(), &settings, &run(threads)).unwrap())
        })
        .into();
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
    let other = SftSettings { seed: 1, ..settings };
    assert_ne!(digests[0], digest(&fine_tune(&base(6, 2), &lessons(), &other, &run(2)).unwrap()));
}

/// A learning rate that is too high, or a norm in the wrong place, shows here first: such a network
/// only learns which tokens are frequent, and never begins to look back.
#[test]
fn the_base_learns_to_copy() {
    let shape = Config { vocab: 300, width: 64, layers: 2, hidden: 64, ..Config::tiny() };
    let settings = BaseSettings {
        config: Config { heads: 2, kv_heads: 2, ..shape },
        steps: 600,
        batch: 16,
        rate: 3e-3,
        ..BaseSettings::default()
    };
    let checkpoint = pretrain(&settings, &texts(), &run(2)).unwrap();
    let curve = &checkpoint.history[0].curve;
    let (first, last) = (curve[0].loss, curve[curve.len() - 1].loss);
    assert!(first > 4.5, "an untrained network cannot know what comes: {first}");
    assert!(last < 2.5, "the loss of copying only fell to {last}");
}

#[test]
fn fine_tuning_learns_its_lessons() {
    let settings = SftSettings { steps: 150, rate: 4e-3, ..SftSettings::default() };
    let student = fine_tune(&base(20, 2), &lessons(), &settings, &run(2)).unwrap();
    let stage = &student.history[1];
    assert_eq!((stage.kind.as_str(), stage.examples, stage.dropped), ("sft", 49, 0));
    let losses: Vec<f64> = stage.curve.iter().map(|p| p.loss).collect();
    assert!(losses[0] > 3.0 && losses[losses.len() - 1] < 1.0, "{losses:?}");
}

/// Noise takes the place of what is only read: the weights differ, the lesson is still learnt.
#[test]
fn blurred_lessons_are_lessons() {
    let settings = SftSettings { steps: 150, rate: 4e-3, blur: 0.3, ..SftSettings::default() };
    let base = base(20, 2);
    let blurred = fine_tune(&base, &lessons(), &settings, &run(2)).unwrap();
    let sharp = SftSettings { blur: 0.0, ..settings.clone() };
    assert_ne!(digest(&blurred), digest(&fine_tune(&base, &lessons(), &sharp, &run(2)).unwrap()));
    assert_eq!(
        digest(&blurred),
        digest(&fine_tune(&base, &lessons(), &settings, &run(1)).unwrap())
    );
    let curve = &blurred.history[1].curve;
    assert!(curve[curve.len() - 1].loss < 1.0, "{curve:?}");
}

#[test]
fn what_cannot_be_learnt_from_is_said() {
    let base = base(0, 1);
    let settings = SftSettings { longest: 8, ..SftSettings::default() };
    let error = fine_tune(&base, &lessons(), &settings, &run(1)).unwrap_err();
    assert!(error.to_string().contains("49 conversations"), "{error}");
    let stop = Run { cancel: &|| true, ..run(1) };
    let error = fine_tune(&base, &lessons(), &SftSettings::default(), &stop).unwrap_err();
    assert!(matches!(error, LearnError::Cancelled { step: 0, steps: 1000 }));
    let long = vec![user(&"a b ".repeat(600)), says("x")];
    let settings = SftSettings { steps: 1, ..SftSettings::default() };
    let student = fine_tune(&base, &[long, lessons()[0].clone()], &settings, &run(1)).unwrap();
    assert_eq!((student.history[1].examples, student.history[1].dropped), (1, 1));
}

/// The loss that training computes is what decoding believes, token by token, with the past kept.
#[test]
fn decoding_agrees_with_training() {
    let student = base(30, 2);
    let conversation = conversation();
    let rendered = render(&student.tokenizer, &conversation, false);
    let settings = SftSettings { steps: 1, batch: 1, blur: 0.0, ..SftSettings::default() };
    let trained = fine_tune(&student, &[conversation], &settings, &run(1)).unwrap();
    let loss = trained.history[1].curve[0].loss;

    let decoder = Decoder::new(&student);
    let mut cache = Cache::default();
    let (mut sum, mut counted) = (0.0, 0);
    for (i, token) in rendered.tokens.iter().enumerate() {
        if rendered.counts[i] {
            let logits = cache.logits();
            let top = logits.iter().fold(f32::MIN, |m, x| m.max(*x));
            let total: f64 = logits.iter().map(|x| f64::from(x - top).exp()).sum();
            sum -= f64::from(logits[*token as usize] - top) - total.ln();
            counted += 1;
        }
        decoder.push(&mut cache, *token);
    }
    let decoded = sum / f64::from(counted);
    assert!((loss - decoded).abs() < 1e-5, "training says {loss}, decoding {decoded}");
}

/// Reading in one go, token by token, or after another conversation: the same bits.
#[test]
fn kept_readings_change_nothing() {
    let decoder = Decoder::new(&base(10, 2));
    let tokens: Vec<u32> = (0..150).map(|i| i * i % 390).collect();
    let mut whole = Cache::default();
    decoder.read(&mut whole, &tokens);
    let mut single = Cache::default();
    tokens.iter().for_each(|t| decoder.push(&mut single, *t));
    assert_eq!(whole.logits(), single.logits());
    let mut other: Vec<u32> = tokens[..77].to_vec();
    other.extend([5; 60]);
    let mut reused = Cache::default();
    decoder.read(&mut reused, &other);
    decoder.read(&mut reused, &tokens);
    assert_eq!(whole.logits(), reused.logits());
}

#[test]
fn sampling_follows_its_seed() {
    let logits = [0.0, 2.0, 2.0, -1.0, f32::NEG_INFINITY];
    assert_eq!(Sampling::new(0.0, 7).choose(&logits), 1);
    let draw = |seed| {
        let mut sampling = Sampling::new(1.0, seed);
        (0..2000).map(|_| sampling.choose(&logits)).collect::<Vec<u32>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    let share = draw(3).iter().filter(|t| **t == 1).count() as f64 / 2000.0;
    let exact = 2f64.exp() / (1.0 + 2.0 * 2f64.exp() + (-1f64).exp());
    assert!((share - exact).abs() < 0.05, "{share} of draws, and {exact} of the weight");
    assert!(!draw(4).contains(&4));
}

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn request(messages: Vec<Message>, max_tokens: u32) -> Request {
    let settings = Settings { temperature: 0.0, max_tokens, seed: 1 };
    Request { messages, tools: vec![], settings }
}

#[test]
fn a_checkpoint_answers() {
    let settings = SftSettings { steps: 350, rate: 5e-3, ..SftSettings::default() };
    let student = fine_tune(&base(200, 2), &lessons(), &settings, &run(2)).unwrap();
    let model = CheckpointModel::new(&student);
    let ask = |r: &Request| wait(model.answer(r)).unwrap();
    let mut messages = lessons()[0].clone();
    messages.truncate(1);
    let first = ask(&request(messages.clone(), 100));
    assert_eq!((first.finish, first.tool_calls.len()), (Finish::ToolCalls, 1), "{first:?}");
    assert_eq!(first.tool_calls[0].id, "call_1");
    assert_eq!(first.tool_calls[0].name, "exec");
    // Again, now that the reading is kept, and on a model that has kept nothing.
    assert_eq!(ask(&request(messages.clone(), 100)), first);
    messages.push(Message::Assistant {
        content: first.content,
        reasoning: String::new(),
        tool_calls: first.tool_calls,
    });
    messages.push(result("(no output)"));
    let second = ask(&request(messages.clone(), 100));
    assert_eq!((second.finish, second.content.as_str()), (Finish::Stop, "Done."), "{second:?}");
    let fresh = CheckpointModel::new(&student);
    let again = wait(fresh.answer(&request(messages.clone(), 100))).unwrap();
    assert_eq!(again, second);
    messages.push(says(&second.content));
    messages.push(user("Move fig to kiwi."));
    let third = ask(&request(messages, 100));
    assert!(third.tool_calls.iter().all(|c| c.id == "call_2"), "{third:?}");
}

#[test]
fn answers_end_where_they_must() {
    let model = CheckpointModel::new(&base(0, 1));
    let ask = |r: &Request| wait(model.answer(r)).unwrap();
    let short = ask(&request(vec![user("hello")], 3));
    assert!(short.usage.output <= 3 && short.usage.input > 3, "{short:?}");
    let long = ask(&request(vec![user(&"1".repeat(2000))], 3));
    assert_eq!((long.finish, long.usage.output), (Finish::Context, 0));
    let tight = ask(&request(vec![user(&"1".repeat(1010))], 400));
    assert!(tight.usage.input + tight.usage.output <= 1025, "{tight:?}");
}

#[test]
fn conversations_are_written_as_qwen_does() {
    let tokenizer = base(0, 1).tokenizer;
    let rendered = render(&tokenizer, &conversation(), true);
    let text = String::from_utf8(tokenizer.decode(&rendered.tokens)).unwrap();
    insta::assert_snapshot!(text, @r#"
    <|im_start|>user
    Count "é" <|im_end|> in a.txt<|im_end|>
    <|im_start|>assistant
    Let me look.
    <tool_call>
    {"name":"exec","arguments":{"command":"grep -c 'a\\b' a.txt\n","timeout":3}}
    </tool_call>
    <tool_call>
    {"name":"edit","arguments":{"edits":[{"newText":"\u0001z/","oldText":"x\ty"}],"path":"b"}}
    </tool_call><|im_end|>
    <|im_start|>user
    <tool_response>
    3

    </tool_response>
    <tool_response>
    ok
    </tool_response><|im_end|>
    <|im_start|>assistant
    <tool_call>
    {"name":"exec","arguments":{}}
    </tool_call><|im_end|>
    <|im_start|>user
    <tool_response>
    (no output)
    </tool_response><|im_end|>
    <|im_start|>assistant
    Done: 3 lines.<|im_end|>
    <|im_start|>assistant
    "#);
    let said = rendered.tokens.iter().zip(&rendered.counts).filter(|(_, c)| **c).map(|(t, _)| *t);
    let said = String::from_utf8(tokenizer.decode(&said.collect::<Vec<u32>>())).unwrap();
    insta::assert_snapshot!(said, @r#"
    Let me look.
    <tool_call>
    {"name":"exec","arguments":{"command":"grep -c 'a\\b' a.txt\n","timeout":3}}
    </tool_call>
    <tool_call>
    {"name":"edit","arguments":{"edits":[{"newText":"\u0001z/","oldText":"x\ty"}],"path":"b"}}
    </tool_call><|im_end|><tool_call>
    {"name":"exec","arguments":{}}
    </tool_call><|im_end|>Done: 3 lines.<|im_end|>
    "#);
    // What a person writes cannot end a turn: the mark in the question is spelt out.
    let ends = rendered.tokens.iter().filter(|t| **t == tokenizer.marks().end_of_turn).count();
    assert_eq!(ends, 6);
}

#[test]
fn broken_calls_are_kept_for_the_model_to_see() {
    let one = |text: &str| {
        let (content, calls) = parse(text);
        assert_eq!(calls.len(), 1, "{text}");
        (content, calls[0].name.clone(), calls[0].arguments.clone())
    };
    let open = "hi <tool_call>{\"name\":\"exec\",\"parameters\":{\"command\":\"ls\"}} and on";
    assert_eq!(one(open), ("hi".into(), "exec".into(), json!({"command": "ls"})));
    let nested = "<tool_call>{\"name\":\"exec\",\"arguments\":\"{\\\"a\\\":1}\"}</tool_call>";
    assert_eq!(one(nested), (String::new(), "exec".into(), json!({"a": 1})));
    let broken = "<tool_call>\n{\"name\":\"exec\",\"arguments\":{\"command\":\"ls}}\n</tool_call>";
    let (_, name, arguments) = one(broken);
    assert_eq!(name, "");
    assert_eq!(arguments, json!("{\"name\":\"exec\",\"arguments\":{\"command\":\"ls}}"));
    let list = "<tool_call>{\"name\":\"exec\",\"arguments\":[1]}</tool_call>";
    assert_eq!(one(list).2, json!("[1]"));
    assert_eq!(parse("no call"), ("no call".into(), vec![]));
}

#[test]
fn checkpoints_survive_their_files() {
    let student = fine_tune(
        &base(2, 1),
        &lessons(),
        &SftSettings {
            steps: 2,
            data: [("lessons".to_string(), "abc".to_string())].into(),
            ..SftSettings::default()
        },
        &run(1),
    )
    .unwrap();
    let files = student.to_files().unwrap();
    let load = |files: &[(String, Vec<u8>)]| {
        let find = |n: &str| files.iter().find(|(name, _)| name == n).map(|(_, b)| b.clone());
        Checkpoint::from_files(&find)
    };
    let again = load(&files).unwrap();
    assert_eq!(again, student);
    assert_eq!(again.to_files().unwrap(), files);
    assert_eq!(again.history[1].data["lessons"], "abc");

    let without: Vec<_> = files.iter().filter(|(n, _)| n != "tokenizer.json").cloned().collect();
    assert!(load(&without).unwrap_err().to_string().starts_with("tokenizer.json: "));
    let mut cut = files.clone();
    cut.iter_mut().filter(|(n, _)| n == "model.safetensors").for_each(|(_, b)| b.truncate(999));
    assert!(load(&cut).unwrap_err().to_string().starts_with("model.safetensors: "));
}

/// Weights of elsewhere come in half precision.
#[test]
fn half_precision_is_read() {
    let base = base(0, 1);
    let mut files = base.to_files().unwrap();
    for (_, bytes) in files.iter_mut().filter(|(name, _)| name == "model.safetensors") {
        let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
        let halves: Vec<(String, Vec<usize>, Vec<u8>)> = file
            .tensors()
            .into_iter()
            .map(|(name, t)| {
                let half = t.data().chunks_exact(4).flat_map(|c| [c[2], c[3]]).collect();
                (name, t.shape().to_vec(), half)
            })
            .collect();
        let views = halves.iter().map(|(name, shape, data)| {
            let kind = safetensors::Dtype::BF16;
            let view = safetensors::tensor::TensorView::new(kind, shape.clone(), data).unwrap();
            (name.clone(), view)
        });
        *bytes = safetensors::serialize(views, None).unwrap();
    }
    let find = |n: &str| files.iter().find(|(name, _)| name == n).map(|(_, b)| b.clone());
    let half = Checkpoint::from_files(&find).unwrap();
    let logits = |c: &Checkpoint| {
        let mut cache = Cache::default();
        Decoder::new(c).read(&mut cache, &[1, 2, 3]);
        cache.logits().to_vec()
    };
    let far = logits(&base).iter().zip(logits(&half)).any(|(a, b)| (a - b).abs() > 0.1);
    assert!(!far && logits(&base) != logits(&half));
}

#[test]
fn a_tokenizer_does_not_depend_on_the_order_of_its_texts() {
    let (a, b) = ("one two three two".to_string(), "three four two\n".repeat(3));
    let forth = Tokenizer::train(&[&a, &b], 300);
    assert_eq!(forth, Tokenizer::train(&[&b, &a], 300));
    assert!(forth.encode("two").len() == 1 && forth.encode(" two").len() == 2);
    assert_eq!(forth.encode("2024").len(), 4);
}

proptest! {
    #[test]
    fn any_bytes_survive_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let tokenizer = Tokenizer::train(&texts(), 320);
        prop_assert_eq!(tokenizer.decode(&tokenizer.encode_bytes(&bytes)), bytes);
    }

    #[test]
    fn any_text_survives_encoding(text in "[ -~éß\u{4e2d}\n\t<|>]{0,60}|\\PC{0,40}") {
        let tokenizer = Tokenizer::train(&texts(), 400);
        let tokens = tokenizer.encode(&text);
        prop_assert_eq!(tokenizer.decode(&tokens), text.as_bytes());
        prop_assert!(tokens.iter().all(|t| *t < tokenizer.marks().end_of_text));
        prop_assert_eq!(tokenizer.decode(&tokenizer.encode_marked(&text)), text.as_bytes());
    }

    /// What was rendered is read back, whatever text the arguments hold.
    #[test]
    fn calls_survive_rendering(
        said in "[a-z .]{0,20}",
        names in proptest::collection::vec("[a-z_]{1,8}", 1..3),
        text in "[^<]{0,30}",
        key in "\\PC{1,6}",
        number in any::<i64>(),
    ) {
        let tokenizer = Tokenizer::train(&texts(), 400);
        prop_assume!(!key.contains('<'));
        let arguments = json!({key: number, "content": text, "deep": {"b": [true, null], "a": 1.5}});
        let list: Vec<(&str, Value)> =
            names.iter().map(|n| (n.as_str(), arguments.clone())).collect();
        let rendered = render(&tokenizer, &[calls(&said, &list)], false);
        let body: Vec<u32> = rendered.tokens.iter().zip(&rendered.counts)
            .filter(|(t, c)| **c && **t != tokenizer.marks().end_of_turn).map(|(t, _)| *t).collect();
        let (content, found) = parse(&String::from_utf8(tokenizer.decode(&body)).unwrap());
        prop_assert_eq!(content, said.trim());
        prop_assert_eq!(found.len(), list.len());
        for (found, (name, arguments)) in found.iter().zip(&list) {
            prop_assert_eq!(&found.name, name);
            prop_assert_eq!(&found.arguments, arguments);
        }
    }
}

/// Hugging Face's own libraries read the files and see the same. Needs a Python with the packages
/// `tokenizers`, `safetensors`, `numpy` and `jinja2`; `CLAW_TEST_PYTHON` names one.
#[test]
fn hugging_face_reads_the_same() {
    let python = std::env::var("CLAW_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = include_str!("fixtures/learn/hugging_face.py");
    let directory = tempfile::tempdir().unwrap();
    let student = base(3, 1);
    for (name, bytes) in student.to_files().unwrap() {
        std::fs::write(directory.path().join(name), bytes).unwrap();
    }
    let plain =
        "Sort 2024 the na\u{301}mes,\n\n\tin 'a_b.txt' && \u{4e2d}\u{6587}\u{a0}x\u{1f600}!";
    // The template spells a mark in a text as the mark itself; only rendering here does not.
    let mut messages = conversation();
    messages[1] = user("Count \"é\" in a.txt");
    let tokens = render(&student.tokenizer, &messages, true).tokens;
    let decoder = Decoder::new(&student);
    let mut cache = Cache::default();
    decoder.read(&mut cache, &tokens[..40]);
    let shared = json!({
        "plain": plain,
        "plain_tokens": student.tokenizer.encode(plain),
        "messages": messages,
        "tokens": tokens,
        "read": &tokens[..40],
        "logits": cache.logits().iter().map(|l| if l.is_finite() { *l } else { 0.0 }).collect::<Vec<f32>>(),
        "known": student.tokenizer.size(),
    });
    std::fs::write(directory.path().join("shared.json"), shared.to_string()).unwrap();
    let output = match Command::new(&python).arg("-c").arg(script).arg(directory.path()).output() {
        Ok(output) => output,
        Err(error) => return skipped(&format!("{python} does not start: {error}")),
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(77) {
        return skipped(said.trim());
    }
    assert!(output.status.success(), "{said}");
}

#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
fn skipped(reason: &str) {
    eprintln!("SKIPPED hugging_face_reads_the_same: {reason}");
}
