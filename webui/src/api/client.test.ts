import { beforeEach, describe, expect, it, vi } from "vitest";
import { api, CALL_SECONDS, dataOf } from "./client";
import { ApiError, wordsOf } from "./errors";

const fetched = vi.fn<(request: Request) => Promise<Response>>();

const thrown = async (call: Promise<unknown>): Promise<ApiError> => {
  const error = await call.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ApiError);
  return error as ApiError;
};

describe("a call of the API", () => {
  beforeEach(() => {
    fetched.mockReset();
    vi.stubGlobal("fetch", fetched);
  });

  it("gives the data", async () => {
    fetched.mockResolvedValue(Response.json([{ id: "w1" }]));
    expect(await dataOf(api.GET("/api/workspaces"))).toEqual([{ id: "w1" }]);
  });

  it("sends JSON even where there is no body: the server refuses what a foreign form could send", async () => {
    fetched.mockResolvedValue(new Response(null, { status: 204 }));
    await api.POST("/api/auth/logout");
    expect(fetched.mock.calls[0]?.[0].headers.get("Content-Type")).toBe("application/json");
  });

  it("throws the problem, with its fields and the time to wait", async () => {
    const errors = [{ field: "username", message: "is too short" }];
    const body = {
      type: "about:blank",
      title: "",
      status: 422,
      code: "validation_failed",
      detail: "No.",
      errors,
    };
    fetched.mockResolvedValue(Response.json(body, { status: 422, headers: { "Retry-After": "7" } }));
    const error = await thrown(api.GET("/api/auth/me"));
    expect([error.status, error.code, error.message, error.retryAfter]).toEqual([
      422,
      "validation_failed",
      "No.",
      7,
    ]);
    expect(error.field("username")).toBe("is too short");
  });

  it("makes sense of an answer that is not ours", async () => {
    fetched.mockResolvedValue(new Response("<h1>Bad Gateway</h1>", { status: 502 }));
    const error = await thrown(api.GET("/api/auth/me"));
    expect([error.status, error.code]).toEqual([502, "http_error"]);
    expect(error.message).toContain("502");
  });

  it("does not claim that nothing happened when no answer came to a change", async () => {
    fetched.mockRejectedValue(new TypeError("Failed to fetch"));
    const changed = await thrown(api.POST("/api/auth/logout"));
    expect(changed.message).toContain("not known whether");
    const read = await thrown(api.GET("/api/auth/me"));
    expect([read.status, read.code]).toEqual([0, "no_answer"]);
  });

  it("has an end", async () => {
    const timeout = vi.spyOn(AbortSignal, "timeout").mockReturnValue(AbortSignal.abort());
    fetched.mockImplementation((request) => Promise.reject(request.signal.reason));
    expect((await thrown(api.GET("/api/auth/me"))).code).toBe("no_answer");
    expect(timeout).toHaveBeenCalledWith(CALL_SECONDS * 1000);
  });

  it("that was given up is no error of the server", async () => {
    fetched.mockImplementation((request) => Promise.reject(request.signal.reason));
    const error = await api
      .GET("/api/auth/me", { signal: AbortSignal.abort() })
      .catch((reason: unknown) => reason);
    expect(error).not.toBeInstanceOf(ApiError);
  });
});

describe("words for what was thrown", () => {
  it("are the API's own", () => expect(wordsOf(new ApiError(409, "x", "It is so."))).toBe("It is so."));
  it("admit a mistake of the page", () =>
    expect(wordsOf(new TypeError("x is undefined"))).toContain("mistake"));
});
