import type { FieldError, ProblemDetails } from "./schema.gen";

/** Why a call failed, in words for the person who made it. */
export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    /** HTTP status; 0 when no answer came. */
    readonly status: number,
    /** The API's stable word, or `no_answer`. */
    readonly code: string,
    message: string,
    readonly fields: readonly FieldError[] = [],
    /** Seconds to wait before another try, where the server named them. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }

  /** What is wrong with one member of what was sent. */
  field(name: string): string | undefined {
    return this.fields.find((error) => error.field === name)?.message;
  }
}

const NO_ANSWER = "The server does not answer. Check your connection, then try again.";
const NO_ANSWER_TO_CHANGE =
  "The server did not answer, so it is not known whether this was done. The page shows what is so once it is back.";

export function noAnswer(method: string): ApiError {
  return new ApiError(0, "no_answer", method === "GET" ? NO_ANSWER : NO_ANSWER_TO_CHANGE);
}

/** The error that a response other than 2xx stands for. */
export function problemOf(response: Response, body: unknown): ApiError {
  const problem: Partial<ProblemDetails> = typeof body === "object" && body !== null ? body : {};
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new ApiError(
    response.status,
    problem.code ?? "http_error",
    problem.detail ?? `The server answered with status ${response.status}. Try again in a moment.`,
    problem.errors ?? [],
    Number.isNaN(seconds) ? null : seconds,
  );
}

/** The words for whatever was thrown. */
export function wordsOf(error: unknown): string {
  if (error instanceof ApiError) return error.message;
  return "This page made a mistake. Nothing was sent; load it anew.";
}

/** "It was not paused", and why; only the latter where no answer came, because then nobody knows. */
export function failureWords(notDone: string, error: unknown): string {
  const unknown = error instanceof ApiError && error.status === 0;
  return unknown ? wordsOf(error) : `${notDone} ${wordsOf(error)}`;
}

/** What is wrong with one member of what was sent, as a sentence for the place beside its input. */
export function fieldWords(error: unknown, name: string): string | undefined {
  const message = error instanceof ApiError ? error.field(name) : undefined;
  return message === undefined ? undefined : `It ${message}.`;
}
