//! The secrets of one call: what it may be given, and what it must not leave behind.
//!
//! An argument names a secret; its value comes by the call's [`Context`](super::Context) and is
//! nowhere else. Whatever the call keeps goes through a guard ([`Guarded`]) that looks for the value
//! first, what it says in an error is masked, and so is what it gives back refused when the value is
//! in it. A secret is looked for as it stands and as JSON writes it: who changes it first (by
//! `base64`, say) is not found out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::lang::{Call, SHORTEST, Secrets, Value, holds_secret, secret_name, secrets_in};
use crate::store::{Digest, Objects, StoreError};

use super::operator::{Args, CallError};

/// What stands in the place of a secret in a text.
pub const MASK: &str = "***";

/// The secrets that a call's arguments name.
#[derive(Clone, Default)]
pub struct CallSecrets(Arc<Named>);

#[derive(Default)]
struct Named {
    by_name: BTreeMap<String, String>,
    /// Every form in which one may stand in what a call leaves, longest first.
    forms: Vec<Vec<u8>>,
}

impl CallSecrets {
    /// The secrets of a call with these arguments.
    ///
    /// # Errors
    /// When one of them has no value, or one too short.
    pub(super) fn of(
        call: &Call,
        args: &Args,
        secrets: &Secrets,
    ) -> Result<CallSecrets, CallError> {
        if secrets.is_empty() {
            return Ok(CallSecrets::default());
        }
        let mut names = Vec::new();
        for (name, arg) in &call.args {
            if holds_secret(&arg.ty)
                && let Some(value) = args.0.get(name)
            {
                secrets_in(value, &arg.ty, &mut names);
            }
        }
        let mut by_name = BTreeMap::new();
        for name in names {
            let secret = secrets.get(&name);
            let Some(value) = secret.and_then(|secret| secret.usable()) else {
                let lack = match secret {
                    Some(secret) => format!("{}\n  help: {}", secret.lack(), secret.help()),
                    None => format!("the program names no secret `{name}`"),
                };
                return Err(CallError::Infrastructure(lack));
            };
            by_name.insert(name, value.to_string());
        }
        Ok(CallSecrets::named(by_name))
    }

    /// Whether the call has none.
    pub fn is_empty(&self) -> bool {
        self.0.by_name.is_empty()
    }

    /// The value of the secret that a handle names.
    ///
    /// # Errors
    /// When the value is no handle of a secret of this call.
    pub fn value(&self, handle: &Value) -> Result<&str, CallError> {
        let value = secret_name(handle).and_then(|name| self.0.by_name.get(name));
        value.map(String::as_str).ok_or_else(|| CallError::row("this is no secret of the call"))
    }

    fn named(by_name: BTreeMap<String, String>) -> CallSecrets {
        let mut forms: Vec<Vec<u8>> = Vec::new();
        for value in by_name.values() {
            let bare = value.trim();
            forms.push(bare.as_bytes().to_vec());
            let quoted = Value::str(bare).encode();
            forms.push(inner(&quoted));
            let ascii: String = String::from_utf8_lossy(&quoted).chars().map(escaped).collect();
            forms.push(inner(ascii.as_bytes()));
        }
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        CallSecrets(Arc::new(Named { by_name, forms }))
    }

    /// Whether a secret stands in the bytes.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.forms.iter().any(|form| find(bytes, form).is_some())
    }

    /// The bytes with [`MASK`] for each secret. Where the front of them was `cut` off, what is left
    /// of a secret there is masked too.
    pub fn masked(&self, bytes: &[u8], cut: bool) -> Vec<u8> {
        if self.is_empty() {
            return bytes.to_vec();
        }
        let forms = &self.0.forms;
        let mut out = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        if cut {
            let left = forms.iter().flat_map(|form| (1..form.len()).map(move |from| &form[from..]));
            let left = left.filter(|tail| rest.starts_with(tail)).map(<[u8]>::len).max();
            if let Some(left) = left {
                out.extend_from_slice(MASK.as_bytes());
                rest = &rest[left..];
            }
        }
        loop {
            let places = forms.iter().filter_map(|form| Some((find(rest, form)?, form.len())));
            // The earliest; of two at one place the longer.
            let Some((at, len)) = places.min_by_key(|(at, len)| (*at, usize::MAX - len)) else {
                out.extend_from_slice(rest);
                return out;
            };
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(MASK.as_bytes());
            rest = &rest[at + len..];
        }
    }

    fn masked_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.masked(text.as_bytes(), false)).into_owned()
    }

    /// What a call came to, without secrets: errors masked, a value that holds one refused.
    pub(super) fn cleared(
        &self,
        made: Result<Value, CallError>,
        guard: &Guarded,
    ) -> Result<Value, CallError> {
        if guard.refused.load(Ordering::Relaxed) {
            return Err(self.left());
        }
        match made {
            Ok(value) if self.is_in(&value.encode()) => Err(self.left()),
            Ok(value) => Ok(value),
            Err(CallError::Row { message, output }) => Err(CallError::Row {
                message: self.masked_text(&message),
                output: self.masked_text(&output),
            }),
            Err(CallError::Infrastructure(message)) => {
                Err(CallError::Infrastructure(self.masked_text(&message)))
            }
            Err(err) => Err(err),
        }
    }

    fn left(&self) -> CallError {
        let names: Vec<String> = self.0.by_name.keys().map(|name| format!("`{name}`")).collect();
        let which = match names.as_slice() {
            [one] => format!("the secret {one}"),
            many => format!("a secret ({})", many.join(", ")),
        };
        CallError::row(format!(
            "what the call left holds {which}, so nothing of it is kept\n  help: let the command \
             leave it out of its files, rows and names; what is printed is masked"
        ))
    }
}

impl std::fmt::Debug for CallSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.by_name.keys()).finish()
    }
}

/// What is between the quotes.
fn inner(quoted: &[u8]) -> Vec<u8> {
    quoted.strip_prefix(b"\"").and_then(|of| of.strip_suffix(b"\"")).unwrap_or(quoted).to_vec()
}

/// A character as JSON of nothing but ASCII writes it.
fn escaped(c: char) -> String {
    if c.is_ascii() {
        return c.to_string();
    }
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// Where `wanted` first stands; it has at least [`SHORTEST`] bytes, by which it is found quickly.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    debug_assert!(wanted.len() >= SHORTEST);
    let last = *wanted.last()?;
    // How far on a byte lets the next place be: Horspool's table.
    let mut on = [wanted.len(); 256];
    for (place, byte) in wanted.iter().enumerate().take(wanted.len() - 1) {
        on[usize::from(*byte)] = wanted.len() - 1 - place;
    }
    let mut end = wanted.len();
    while end <= bytes.len() {
        let byte = bytes[end - 1];
        if byte == last && bytes[end - wanted.len()..end] == *wanted {
            return Some(end - wanted.len());
        }
        end += on[usize::from(byte)];
    }
    None
}

/// Objects that keep no secret.
pub(super) struct Guarded {
    objects: Arc<dyn Objects>,
    secrets: CallSecrets,
    refused: AtomicBool,
}

impl Guarded {
    pub(super) fn new(objects: Arc<dyn Objects>, secrets: CallSecrets) -> Guarded {
        Guarded { objects, secrets, refused: AtomicBool::new(false) }
    }

    fn look(&self, bytes: &[u8]) -> Result<(), StoreError> {
        if !self.secrets.is_in(bytes) {
            return Ok(());
        }
        self.refused.store(true, Ordering::Relaxed);
        Err(StoreError::Stopped("a secret is not kept".to_string()))
    }
}

impl Objects for Guarded {
    fn get(&self, digest: &Digest) -> Result<Arc<[u8]>, StoreError> {
        self.objects.get(digest)
    }

    fn size(&self, digest: &Digest) -> Result<u64, StoreError> {
        self.objects.size(digest)
    }

    fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        self.look(bytes)?;
        self.objects.put(bytes)
    }

    fn put_all(&self, all: Vec<Vec<u8>>) -> Result<Vec<Digest>, StoreError> {
        all.iter().try_for_each(|bytes| self.look(bytes))?;
        self.objects.put_all(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryObjects;

    fn of(values: &[&str]) -> CallSecrets {
        let named = values.iter().enumerate();
        let by_name = named.map(|(n, value)| (format!("S{n}"), (*value).to_string())).collect();
        CallSecrets::named(by_name)
    }

    fn masked(secrets: &CallSecrets, text: &str, cut: bool) -> String {
        String::from_utf8(secrets.masked(text.as_bytes(), cut)).expect("text")
    }

    #[test]
    fn secrets_are_masked_in_every_form() {
        let secrets = of(&["pa\"ss\nwörd\n", "abcdefgh", "abcdefghij"]);
        assert_eq!(masked(&secrets, "x abcdefghij abcdefgh!", false), "x *** ***!");
        assert_eq!(masked(&secrets, "[pa\"ss\nwörd]", false), "[***]");
        assert_eq!(masked(&secrets, r#"["pa\"ss\nwörd"]"#, false), "[\"***\"]");
        assert_eq!(masked(&secrets, "[\"pa\\\"ss\\nw\\u00f6rd\"]", false), "[\"***\"]");
        assert_eq!(masked(&secrets, "efghij, then hij", true), "***, then hij");
        assert_eq!(masked(&secrets, "efghij", false), "efghij");
        assert!(!secrets.is_in(b"abcdefg") && secrets.is_in(b"-abcdefgh"));
        assert!(!of(&[]).is_in(b"anything"));
        assert!(!format!("{secrets:?}").contains("abc"));
    }

    #[test]
    fn a_text_is_found_wherever_it_stands() {
        let text = "abababacabababaabcabcdabcd";
        for start in 0..text.len() {
            for end in start + 1..=text.len() {
                let wanted = &text[start..end];
                if wanted.len() >= SHORTEST {
                    assert_eq!(find(text.as_bytes(), wanted.as_bytes()), text.find(wanted));
                }
            }
        }
        assert_eq!(find(b"abcdefg", b"abcdefgh"), None);
    }

    #[test]
    fn the_guard_keeps_nothing_that_holds_a_secret() {
        let inner = Arc::new(MemoryObjects::default());
        let secrets = of(&["abcdefgh"]);
        let guard = Guarded::new(inner.clone(), secrets.clone());
        guard.put(b"fine").expect("kept");
        assert!(secrets.cleared(Ok(Value::str("fine")), &guard).is_ok());
        assert!(secrets.cleared(Ok(Value::str("an abcdefgh")), &guard).is_err());
        assert!(guard.put_all(vec![b"well".to_vec(), b"an abcdefgh".to_vec()]).is_err());
        assert!(inner.get(&Digest::of(b"well")).is_err(), "nothing of it");
        let told = secrets.cleared(Ok(Value::Null), &guard).expect_err("refused").to_string();
        assert!(told.contains("`S0`") && !told.contains("abcdefgh"), "{told}");
    }
}
