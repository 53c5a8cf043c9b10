//! `with { … }`.

use claw::lang::Value;

use super::checked::bound;

#[test]
fn policies_have_a_type() {
    let text = r#"
param many: int = 8
param cluster: str = "slurm"
stage a = [1] with {
  retries: 2, backoff: 500ms, timeout: 2m, on_error: drop(at_most: 5%), concurrency: many,
  resources: { cpu: 2, memory: 2GiB, gpu: 1 }, executor: cluster, cache: refresh, budget: $20,
  canary: 1_000, gate: .failed_share < 10%,
}
stage b = [1] with { on_error: keep, cache: off }
stage c = [1]
output a
"#;
    let pipeline = bound(text, &[("many", "3")]).expect("bound");
    let policy = pipeline.stages[0].policy();
    let gate = policy.gate.clone().expect("a gate");
    let canary = |share: f64| {
        Value::record([
            ("rows", Value::Int(1000)),
            ("failed", Value::Int(1)),
            ("failed_share", Value::Float(share)),
        ])
    };
    assert_eq!(claw::lang::apply(&gate, &canary(0.05)), Ok(Value::Bool(true)));
    assert_eq!(claw::lang::apply(&gate, &canary(0.5)), Ok(Value::Bool(false)));
    insta::assert_debug_snapshot!(claw::lang::Policy { gate: None, ..policy });
    assert_eq!(pipeline.stages[1].policy().on_error, claw::lang::OnError::Keep);
    assert_eq!(pipeline.stages[1].policy().cache, claw::lang::CacheUse::Off);
    assert_eq!(pipeline.stages[2].policy(), claw::lang::Policy::default());
}
