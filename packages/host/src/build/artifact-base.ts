/** What the kernel and the agent are built in; the built-in templates start from it too, so it is fetched once. */
export const BASE_IMAGE = "docker.io/library/debian:bookworm-slim";
