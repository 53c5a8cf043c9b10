//! The languages that endpoints speak, and what differs between them on the line.

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

use crate::model::Request;
use crate::project::{ModelSettings, ProviderName};

use super::secret::Secret;
use super::wire::Reading;
use super::{messages, wire};

/// The version of the messages that we speak; Anthropic asks for it in every request.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// One of the languages.
#[derive(Debug, Clone, Copy)]
pub(super) enum Provider {
    /// Chat completions.
    Chat,
    /// Anthropic's messages.
    Messages,
}

impl Provider {
    /// The one that the settings name.
    pub(super) fn of(settings: &ModelSettings) -> Provider {
        match settings.provider {
            ProviderName::Anthropic => Provider::Messages,
            _ => Provider::Chat,
        }
    }

    /// What stands behind the endpoint in the URL.
    pub(super) fn path(self) -> &'static str {
        match self {
            Provider::Chat => "/chat/completions",
            Provider::Messages => "/messages",
        }
    }

    /// The bytes of a request.
    pub(super) fn body(self, settings: &ModelSettings, request: &Request) -> Vec<u8> {
        match self {
            Provider::Chat => wire::body(settings, request),
            Provider::Messages => messages::body(settings, request),
        }
    }

    /// The headers that say who asks.
    pub(super) fn headers(self, key: Option<&Secret>) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        let (name, before) = match self {
            Provider::Chat => (AUTHORIZATION, "Bearer "),
            Provider::Messages => {
                let version = HeaderName::from_static("anthropic-version");
                headers.push((version, HeaderValue::from_static(ANTHROPIC_VERSION)));
                (HeaderName::from_static("x-api-key"), "")
            }
        };
        headers.extend(key.and_then(|key| key.header(before)).map(|value| (name, value)));
        headers
    }

    /// What an answer is gathered in.
    pub(super) fn reading(self) -> Box<dyn Reading> {
        match self {
            Provider::Chat => Box::new(wire::Gathered::default()),
            Provider::Messages => Box::new(messages::Gathered::default()),
        }
    }
}
