// An OpenID Connect issuer: npm's oidc-provider, with access tokens as JWT by the client-credentials grant.
//
//   node oidc.mjs PORT KEYS_FILE
//
// Where PAGE_BACK is set, people sign in at once as richard by the authorization code flow, for the client `page`, and go back there.
// KEYS_FILE holds the private keys and is made where it is missing: another file is another set of keys. The `resource` of a
// token request becomes its audience, after `urn:ALG:`; the client's id becomes `sub`, its scope the roles.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { generateKeyPairSync } from "node:crypto";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const require = createRequire(join(process.env.NODE_FOLDER, "index.js"));
const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")).href);

// Nobody reads on after the first line.
process.stdout.on("error", () => {});

const [port, keysFile] = process.argv.slice(2);
if (!existsSync(keysFile)) {
  const pairs = [
    ["RS256", generateKeyPairSync("rsa", { modulusLength: 2048 })],
    ["ES256", generateKeyPairSync("ec", { namedCurve: "P-256" })],
    ["EdDSA", generateKeyPairSync("ed25519")],
  ];
  const keys = pairs.map(([alg, pair]) => ({ ...pair.privateKey.export({ format: "jwk" }), alg, use: "sig" }));
  writeFileSync(keysFile, JSON.stringify({ keys }));
}

// The issuer's clock can be set off, so that tokens are expired, or not valid yet, when they are made.
const now = Date.now;
let offsetMs = 0;
Date.now = () => now() + offsetMs;

const client = (client_id) => ({
  client_id,
  client_secret: "secret",
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: [],
});
// People, for the client of a page.
const back = process.env.PAGE_BACK;
const page = {
  client_id: "page",
  client_secret: "page secret: +/%",
  grant_types: ["authorization_code"],
  response_types: ["code"],
  redirect_uris: [back],
};
const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: JSON.parse(readFileSync(keysFile, "utf8")),
  clients: [...["reader", "sender", "stranger", "other-hospital"].map(client), ...(back ? [page] : [])],
  claims: { openid: ["sub"], profile: ["family_name", "given_name", "roles"] },
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  findAccount: (ctx, id) => ({
    accountId: id,
    claims: () => ({ sub: id, family_name: "Roe", given_name: "Richard", roles: ["read", "review"] }),
  }),
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  scopes: ["read", "submit", "worker", "admin"],
  enabledJWA: { idTokenSigningAlgValues: ["RS256", "ES256", "EdDSA"] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => {
        const [, alg, audience] = resource.split(":");
        return {
          scope: "read submit worker admin",
          audience,
          accessTokenTTL: 300,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg } },
        };
      },
    },
  },
  extraTokenClaims: (ctx, token) => ({
    sub: token.clientId,
    roles: (token.scope ?? "").split(" "),
    ...(token.clientId === "other-hospital" ? { tenants: ["other-hospital"] } : {}),
  }),
});
provider.use(async (ctx, next) => {
  if (ctx.path !== "/test/clock") return next();
  offsetMs = Number(ctx.query.offset_s) * 1000;
  ctx.body = "set";
});
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith("/interaction/")) return next();
  const { prompt, params, session } = await provider.interactionDetails(ctx.req, ctx.res);
  let result = { login: { accountId: "richard" } };
  if (prompt.name === "consent") {
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope("openid profile");
    result = { consent: { grantId: await grant.save() } };
  }
  ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result, { mergeWithLastSubmission: true }));
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
