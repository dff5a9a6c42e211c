// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { isServerPath, safeNext } from "./next";

describe("safeNext", () => {
  it.each([
    "/",
    "/w/abc/members",
    "/w/abc/usage?days=30#table",
    "/sandboxes/s1/ports",
    "/api/sandboxes/s1/open?next=http%3A%2F%2F8000-s1.localhost%2F",
    "/invite",
    "/registered", // begins like a sign-in page, and is none
    "/w/abc?x=//evil.example",
  ])("keeps %s", (path) => expect(safeNext(path)).toBe(path));

  it.each([
    ["nothing", undefined],
    ["nothing at all", null],
    ["a number", 7],
    ["a list", ["/w/abc"]],
    ["an empty text", ""],
    ["a path that is none", "w/abc"],
    ["another site", "https://evil.example/"],
    ["another site, without its scheme", "//evil.example/"],
    ["three slashes", "///evil.example/"],
    ["a backslash", "/\\evil.example/"],
    ["two backslashes", "\\\\evil.example/"],
    ["a slash that is hidden by a tab", "/\t/evil.example/"],
    ["a slash that is hidden by a line's end", "/\n/evil.example/"],
    ["a slash that is hidden by a carriage return", "/\r\\evil.example/"],
    ["a space in front", " //evil.example/"],
    ["a tab in front", "\t//evil.example/"],
    ["dots that leave two slashes", "/.//evil.example/"],
    ["dots that go up to two slashes", "/w/..//evil.example/"],
    ["dots that are written by number", "/%2e%2e//evil.example/"],
    ["dots with a backslash", "/.\\/evil.example/"],
    ["a script", "javascript:alert(1)"],
    ["a script behind a slash that is none", "/\\javascript:alert(1)"],
    ["a user in front of the host", "//localhost@evil.example/"],
    ["a host that cannot be read", "//["],
    ["the sign-in page", "/login"],
    ["the sign-in page with somewhere else to go", "/login?next=//evil.example"],
    ["the sign-in page, going round", "/w/../login#again"],
    ["the page to register", "/register/"],
    ["a file to download", "/agent/cli-server-agent.pyz"],
    ["a stream without an end", "/api/events"],
    ["an answer for programs", "/api/sandboxes/s1/logs?follow=true"],
    ["what only looks like opening", "/api/sandboxes/s1/open/../logs"],
  ])("does not go to %s", (_what, next) => expect(safeNext(next)).toBe("/"));

  it("gives what a browser would make of it, so that nobody reads it in another way later", () => {
    expect(safeNext("/w/abc/../def\\members")).toBe("/w/def/members");
    expect(new URL(safeNext("/%5cevil.example"), location.origin).origin).toBe(location.origin);
  });
});

describe("isServerPath", () => {
  it("tells the server's addresses from the pages", () => {
    expect(isServerPath("/api/sandboxes/s1/open?next=%2F")).toBe(true);
    expect(isServerPath("/api/sandboxes/s1/open")).toBe(true);
    expect(isServerPath("/api/sandboxes/s1/opening")).toBe(false);
    expect(isServerPath("/w/api/members")).toBe(false);
    expect(isServerPath("/apis")).toBe(false);
  });
});
