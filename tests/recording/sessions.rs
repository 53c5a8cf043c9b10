//! Who may speak, how much, and what is kept of it.

use claw::engine::{OverBudget, Whose};
use claw::model::endpoint::{Allowance, Over};
use claw::model::{Answer, Finish, ModelError, Usage};
use serde_json::{Value as Json, json};

use super::client::{PLENTY, Scripted, Served, calling, session, words};

fn ask(text: &str) -> Json {
    json!({ "messages": [{ "role": "user", "content": text }] })
}

#[tokio::test]
async fn who_has_no_token_is_told_nothing_and_nothing_is_kept() {
    let model = Scripted::new(|_, _| Ok(words("Yes.")));
    let (one, other) = (session(&model, PLENTY), session(&model, PLENTY));
    let served = Served::with(&one);
    served.endpoint.open("another", other.clone());
    let line = "POST /v1/chat/completions";
    let body = ask("Hello?").to_string();
    for headers in [
        "",
        "authorization: Bearer wrong\r\n",
        "authorization: Bearer toke\r\n",
        "authorization: Bearer tokenn\r\n",
        "authorization: Bearer \r\n",
        "authorization: Basic token\r\n",
        "authorization: token\r\n",
        "x-api-key: token\r\n",
    ] {
        for line in [line, "GET /v1/models", "GET /v1/anything"] {
            let (status, _, said) = served.ask(line, headers, &body).await;
            assert_eq!(status, 401, "{line} {headers}");
            assert!(said.contains("invalid_api_key") && !said.contains("scripted"), "{said}");
        }
    }
    assert!(model.asked().is_empty());
    assert_eq!((one.record().usage.len(), other.record().usage.len()), (0, 0));
    // Each token speaks in its own session and in no other.
    assert_eq!(served.question("another", &ask("Hello?")).await.0, 200);
    assert_eq!((one.record().usage.len(), other.record().usage.len()), (0, 1));
    served.endpoint.close("another");
    assert_eq!(served.question("another", &ask("Hello?")).await.0, 401);
    assert_eq!(served.question("token", &ask("Hello?")).await.0, 200);
    assert_eq!((one.record().usage.len(), other.record().usage.len()), (1, 1));
}

#[tokio::test]
async fn a_session_ends_when_all_answers_are_given() {
    let model = Scripted::new(|_, _| Ok(words("Yes.")));
    let session = session(&model, Allowance { answers: 2, ..PLENTY });
    let served = Served::with(&session);
    for text in ["a", "b"] {
        assert_eq!(served.question("token", &ask(text)).await.0, 200);
        assert!(session.record().over.is_none());
    }
    for text in ["c", "d"] {
        let (status, said) = served.question("token", &ask(text)).await;
        assert_eq!((status, &said["error"]["code"]), (403, &json!("session_over")), "{said}");
    }
    session.over().await;
    assert!(matches!(session.record().over, Some(Over::Answers)));
    assert_eq!(model.asked().len(), 2);
}

#[tokio::test]
async fn a_session_ends_when_all_tokens_are_used() {
    let model = Scripted::new(|_, _| Ok(words("Yes.")));
    let session = session(&model, Allowance { tokens: Some(20), ..PLENTY });
    let served = Served::with(&session);
    // Each answer takes 14.
    for (text, expected) in [("a", 200), ("b", 200), ("c", 403)] {
        assert_eq!(served.question("token", &ask(text)).await.0, expected);
    }
    assert!(matches!(session.record().over, Some(Over::Tokens)));
}

#[tokio::test]
async fn a_conversation_that_grew_too_long_may_be_followed_by_a_shorter_one() {
    let model = Scripted::new(|_, _| {
        Ok(Answer { usage: Usage { input: 90, output: 20 }, ..words("Yes.") })
    });
    let session = session(&model, Allowance { context: 100, ..PLENTY });
    let served = Served::with(&session);
    assert_eq!(served.question("token", &ask("Hello?")).await.0, 200);
    let more = json!({ "messages": [
        { "role": "user", "content": "Hello?" },
        { "role": "assistant", "content": "Yes." },
        { "role": "user", "content": "More?" },
    ] });
    let (status, said) = served.question("token", &more).await;
    assert_eq!((status, &said["error"]["code"]), (400, &json!("context_length_exceeded")));
    assert!(said["error"]["message"].as_str().unwrap().contains("is 100 tokens"), "{said}");
    assert!(session.record().too_long && session.record().over.is_none());
    assert_eq!(served.question("token", &ask("In short: more?")).await.0, 200);
    assert!(!session.record().too_long);
    assert_eq!(session.record().transcript.branches().len(), 2);
}

#[tokio::test]
async fn what_the_model_cannot_or_will_not_do_is_told_apart() {
    let refusal = || ModelError::Refused { message: "no".to_string(), output: "N".to_string() };
    let model = Scripted::new(move |number, _| match number {
        0 => Err(refusal()),
        1 => Ok(words("Yes.")),
        2 => Ok(Answer { finish: Finish::Context, ..words("") }),
        _ => Err(ModelError::Unavailable("gone".to_string())),
    });
    let session = session(&model, PLENTY);
    let served = Served::with(&session);
    let (status, said) = served.question("token", &ask("a")).await;
    assert_eq!((status, &said["error"]["code"]), (400, &json!("refused")), "{said}");
    assert_eq!(session.record().refused, Some(("no".to_string(), "N".to_string())));
    assert_eq!(served.question("token", &ask("a")).await.0, 200);
    assert_eq!(session.record().refused, None);
    let (status, said) = served.question("token", &ask("b")).await;
    assert_eq!((status, &said["error"]["code"]), (400, &json!("context_length_exceeded")));
    let key = "authorization: Bearer token\r\n";
    let line = "POST /v1/chat/completions";
    let (status, head, _) = served.ask(line, key, &ask("c").to_string()).await;
    assert_eq!(status, 403);
    assert!(head.contains("x-should-retry: false"), "{head}");
    session.over().await;
    let Some(Over::Unavailable(why)) = session.record().over else { panic!() };
    assert_eq!(why, "gone");
    // Nobody is asked any more.
    assert_eq!(served.question("token", &ask("d")).await.0, 403);
    assert_eq!(model.asked().len(), 4);

    let over = OverBudget { whose: Whose::Stage, limit: 5, spent: 3, asked: 4 };
    let model = Scripted::new(move |_, _| Err(ModelError::Budget(over)));
    let session = super::client::session(&model, PLENTY);
    let served = Served::with(&session);
    assert_eq!(served.question("token", &ask("a")).await.0, 403);
    let Some(Over::Budget(told)) = session.record().over else { panic!() };
    assert_eq!(told, over);
}

#[tokio::test]
async fn a_model_that_always_refuses_is_not_asked_for_ever() {
    let model = Scripted::new(|_, _| {
        Err(ModelError::Refused { message: "no".to_string(), output: String::new() })
    });
    let session = session(&model, Allowance { answers: 3, ..PLENTY });
    let served = Served::with(&session);
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(served.question("token", &ask("a")).await.0);
    }
    assert_eq!(statuses, [400, 400, 400, 403, 403]);
}

#[tokio::test]
async fn chance_comes_from_the_seed_and_the_question() {
    let seeds = async |questions: &[&str]| {
        let model = Scripted::new(|_, _| Ok(words("Yes.")));
        let served = Served::with(&session(&model, PLENTY));
        for text in questions {
            assert_eq!(served.question("token", &ask(text)).await.0, 200);
        }
        model.asked().iter().map(|request| request.settings.seed).collect::<Vec<_>>()
    };
    let first = seeds(&["a", "b", "a", "a"]).await;
    assert_eq!(first, seeds(&["a", "b", "a", "a"]).await, "a session that is repeated");
    let moved = seeds(&["b", "a", "a", "a"]).await;
    assert_eq!(
        (moved[0], moved[1], moved[2]),
        (first[1], first[0], first[2]),
        "whatever the order"
    );
    let mut apart = first.clone();
    apart.sort_unstable();
    apart.dedup();
    assert_eq!(apart.len(), 4, "another answer is asked for with the same question");
}

#[tokio::test]
async fn calls_have_ids_of_their_own_and_the_programs_temperature_holds() {
    let model = Scripted::new(|number, _| {
        let ids = ["a", "a", "", "b"];
        Ok(calling(ids[number], "f", json!({})))
    });
    let session =
        claw::model::endpoint::Session::new(model.clone(), "scripted", Some(0.7), 7, PLENTY);
    let served = Served::with(&session);
    let mut ids = Vec::new();
    for text in ["a", "b", "c", "d"] {
        let mut question = ask(text);
        question["temperature"] = json!(0.1);
        let (_, said) = served.question("token", &question).await;
        ids.push(said["choices"][0]["message"]["tool_calls"][0]["id"].clone());
    }
    assert_eq!(ids, ["a", "call_2", "call_3", "b"]);
    assert!(model.asked().iter().all(|request| request.settings.temperature == 0.7));
}
