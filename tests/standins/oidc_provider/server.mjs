// The real oidc-provider, a certified one, with its own pages for signing in (any password is right) and for consent.
//
//   node server.mjs PORT MODULES CONFIG PEOPLE
//
// MODULES is the folder node_modules; CONFIG a JSON file with client_id, client_secret, redirect_uris and
// post_logout_redirect_uris; PEOPLE a JSON file with claims by login, read anew each time. It signs with a key that it
// makes at the start, so that starting it anew is a change of keys. Prints a line once it listens.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [port, modules, configPath, peoplePath] = process.argv.slice(2);
const { Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`).href);

const issuer = `http://localhost:${port}`;
const key = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
const people = () => JSON.parse(readFileSync(peoplePath, "utf8"));

const provider = new Provider(issuer, {
  clients: [{ grant_types: ["authorization_code"], response_types: ["code"], ...JSON.parse(readFileSync(configPath, "utf8")) }],
  jwks: { keys: [{ ...key, use: "sig", alg: "RS256", kid: randomBytes(4).toString("hex") }] },
  cookies: { keys: [randomBytes(16).toString("hex")] },
  pkce: { required: () => true },
  scopes: ["openid", "profile", "email", "groups"],
  claims: {
    openid: ["sub"],
    profile: ["preferred_username", "name"],
    email: ["email", "email_verified"],
    groups: ["groups"],
  },
  findAccount: (_, login) => {
    const claims = people()[login];
    return claims && { accountId: login, claims: () => ({ sub: login, ...claims }) };
  },
});
provider.listen(Number(port), "127.0.0.1", () => console.log(`listening ${issuer}`));
