//! idiolect-tokenizer
