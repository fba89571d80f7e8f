//! Re-derives from block bytes what a template declares.
