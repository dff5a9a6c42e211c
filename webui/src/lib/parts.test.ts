// @vitest-environment jsdom
import { beforeEach, describe, expect, it, vi } from "vitest";
import { ApiError } from "@/api/errors";
import { part, reloadIfGone } from "./parts";

describe("a part of the page", () => {
  const reload = vi.fn();

  beforeEach(() => {
    sessionStorage.clear();
    reload.mockClear();
    vi.stubGlobal("location", { reload });
  });

  const failing = () => Promise.reject(new TypeError("Failed to fetch dynamically imported module: x"));
  const failed = (answer: () => Promise<Response>): Promise<unknown> => {
    vi.stubGlobal("fetch", answer);
    return part(failing).catch((error: unknown) => error);
  };

  it("is what was loaded", async () => {
    expect(await part(async () => "it")).toBe("it");
  });

  it("is not looked for in a new page while the server is away", async () => {
    const error = await failed(() => Promise.reject(new TypeError("Failed to fetch")));
    expect(error).toBeInstanceOf(ApiError);
    expect((error as ApiError).code).toBe("no_answer");
    reloadIfGone(error);
    expect(reload).not.toHaveBeenCalled();
  });

  it("nor while a proxy answers in the place of the server", async () => {
    const error = await failed(async () => new Response("bad gateway", { status: 502 }));
    expect((error as ApiError).code).toBe("no_answer");
  });

  it("comes with a new page after an update, which is loaded once", async () => {
    const error = await failed(async () => new Response("<html>"));
    reloadIfGone(error);
    reloadIfGone(error);
    expect(reload).toHaveBeenCalledTimes(1);
  });
});
