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
pub(super) struct Provider(ProviderName);

impl Provider {
    /// The one that the settings name.
    pub(super) fn of(settings: &ModelSettings) -> Provider {
        Provider(settings.provider)
    }

    /// What stands behind the endpoint in the URL.
    pub(super) fn path(self) -> &'static str {
        match self.0 {
            ProviderName::OpenAi => "/chat/completions",
            ProviderName::Anthropic => "/messages",
        }
    }

    /// The bytes of a request.
    pub(super) fn body(self, settings: &ModelSettings, request: &Request) -> Vec<u8> {
        match self.0 {
            ProviderName::OpenAi => wire::body(settings, request),
            ProviderName::Anthropic => messages::body(settings, request),
        }
    }

    /// The headers that say who asks.
    pub(super) fn headers(self, key: Option<&Secret>) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        let (name, before) = match self.0 {
            ProviderName::OpenAi => (AUTHORIZATION, "Bearer "),
            ProviderName::Anthropic => {
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
        match self.0 {
            ProviderName::OpenAi => Box::new(wire::Gathered::default()),
            ProviderName::Anthropic => Box::new(messages::Gathered::default()),
        }
    }
}
