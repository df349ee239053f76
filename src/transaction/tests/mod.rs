mod codec;
mod coordinator;
mod producer;
