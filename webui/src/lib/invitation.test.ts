// @vitest-environment jsdom
import { afterEach, describe, expect, it, vi } from "vitest";

/** The module as a page that is loaded anew has it. */
async function loaded() {
  vi.resetModules();
  return import("./invitation");
}

afterEach(() => {
  vi.restoreAllMocks();
  sessionStorage.clear();
});

describe("an invitation's token", () => {
  it("is this tab's, and no other's, also when the page is loaded anew", async () => {
    const before = await loaded();
    before.keepInvitation("abc");
    before.keepWorkspaceName("team");
    expect(localStorage.length).toBe(0);
    const after = await loaded();
    expect(after.keptInvitation()).toBe("abc");
    expect(after.keptWorkspaceName()).toBe("team");
    after.dropInvitation();
    expect(after.keptInvitation()).toBeNull();
    expect(sessionStorage.length).toBe(0);
  });

  it("takes nothing along from the one before", async () => {
    const { keepInvitation, keepWorkspaceName, keptWorkspaceName } = await loaded();
    keepInvitation("abc");
    keepWorkspaceName("team");
    keepInvitation("abc");
    expect(keptWorkspaceName()).toBe("team");
    keepInvitation("def");
    expect(keptWorkspaceName()).toBeUndefined();
  });

  it("is kept where the browser has no storage for us", async () => {
    const refuse = () => {
      throw new DOMException("The operation is insecure.", "SecurityError");
    };
    vi.spyOn(Storage.prototype, "setItem").mockImplementation(refuse);
    vi.spyOn(Storage.prototype, "getItem").mockImplementation(refuse);
    const { keepInvitation, keptInvitation } = await loaded();
    expect(keptInvitation()).toBeNull();
    keepInvitation("abc");
    expect(keptInvitation()).toBe("abc");
  });

  it.each(["abc", "{}", '{"token": 7}', "[1]"])("is not what somebody else left there: %s", async (left) => {
    sessionStorage.setItem("invitation", left);
    const { keptInvitation } = await loaded();
    expect(keptInvitation()).toBeNull();
  });

  it("goes along only where the way leads back to its page", async () => {
    const { invitationFor, keepInvitation } = await loaded();
    keepInvitation("abc");
    expect(invitationFor("/invite")).toBe("abc");
    expect(invitationFor("/account/sessions")).toBeNull();
    expect(invitationFor(undefined)).toBeNull();
  });
});
