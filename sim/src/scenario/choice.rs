//! Closed sets of words that scenario files choose from.

/// Makes an enum whose variants have names in scenario files, in plans and in reports.
macro_rules! choices {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $each:literal])+ $variant:ident = $text:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[derive(serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[doc = $each])+ #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Each with its name, in the order of the documentation.
            pub const CHOICES: &'static [(&'static str, Self)] = &[$(($text, Self::$variant),)+];

            /// The name as scenario files write it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

pub(super) use choices;
