//! What of an expression goes into a key.

use super::checked::bound;

/// Renaming, layout, comments and order change nothing that keys are made of.
#[test]
fn meaning_not_text_is_hashed() {
    let key = |text: &str| {
        let pipeline = bound(text, &[]).expect("bound");
        let stage = pipeline.stages.last().expect("a stage").clone();
        let mut hasher = claw::store::KeyHasher::new("test");
        stage.expr.hash_into(&mut hasher, &mut Vec::new(), &mut |hasher, _| {
            hasher.text("stage");
        });
        hasher.finish()
    };
    let a = key(
        "use std/persona\nstage p = persona.imagine(count: 60)\nstage k = for x in p where x.name != \"\" { { name: x.name } }\noutput k",
    );
    let b = key(
        "use std/persona as q\n// c\nlet n = 2 * 30\nstage people = q.imagine(n, seed: 0)\nstage k = for who in people\n  where (who.name != \"\") { { name: who.name } }\noutput k",
    );
    assert_eq!(a, b);
    let c = key(
        "use std/persona\nstage p = persona.imagine(count: 60)\nstage k = for x in p where x.name != \"a\" { { name: x.name } }\noutput k",
    );
    assert_ne!(a, c);
}
