// XRPC calls to the servers of this network.

export class XrpcError extends Error {
  constructor(nsid, status, name, message) {
    super(`${nsid}: ${status} ${name ?? ''}: ${message ?? ''}`)
    this.status = status
    this.name = name
  }
}

export const basic = (password) => 'Basic ' + Buffer.from(`admin:${password}`).toString('base64')

async function answer(nsid, res) {
  const isJson = res.headers.get('content-type')?.includes('json')
  if (!res.ok) {
    const body = isJson ? await res.json() : { message: await res.text() }
    throw new XrpcError(nsid, res.status, body.error, body.message)
  }
  return isJson ? res.json() : new Uint8Array(await res.arrayBuffer())
}

export async function query(host, nsid, params) {
  return answer(nsid, await fetch(`${host}/xrpc/${nsid}?${new URLSearchParams(params)}`))
}

export async function procedure(host, nsid, input, authorization) {
  const headers = authorization ? { authorization } : {}
  if (input !== undefined) headers['content-type'] = 'application/json'
  const body = input === undefined ? undefined : JSON.stringify(input)
  return answer(nsid, await fetch(`${host}/xrpc/${nsid}`, { method: 'POST', headers, body }))
}
