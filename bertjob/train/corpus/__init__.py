"""Raw text to memory-mapped shards of tokens: what ``bertjob data prepare`` does, and the reader of its result."""
