// Moves an account to another server: a new account under the same DID, its repo
// imported, the directory changed, the new account activated, the old one
// deactivated.

import { procedure, query } from './xrpc.mjs'

export async function migrate(account, from, to, password) {
  const { did } = account
  const oldAuth = `Bearer ${account.token}`
  const { token } = await query(
    from.url,
    'com.atproto.server.getServiceAuth',
    { aud: to.did, lxm: 'com.atproto.server.createAccount' },
    oldAuth,
  )
  const { handle } = await query(from.url, 'com.atproto.repo.describeRepo', { repo: did }, oldAuth)
  const made = await procedure(
    to.url,
    'com.atproto.server.createAccount',
    { did, handle, email: `${handle}@mail.test`, password },
    `Bearer ${token}`,
  )
  const auth = `Bearer ${made.accessJwt}`
  const car = await query(from.url, 'com.atproto.sync.getRepo', { did }, oldAuth)
  await procedure(to.url, 'com.atproto.repo.importRepo', car, auth)
  const wanted = await query(to.url, 'com.atproto.identity.getRecommendedDidCredentials', {}, auth)
  await from.updateDirectory(did, wanted)
  await procedure(to.url, 'com.atproto.server.activateAccount', undefined, auth)
  await procedure(from.url, 'com.atproto.server.deactivateAccount', {}, oldAuth)
  return { ...account, host: to.url, token: made.accessJwt }
}
