"""THE WORK: what runs inside the container. Imports torch; knows nothing of cluster/ and cli/."""
