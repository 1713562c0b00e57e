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

export async function query(host, nsid, params, authorization) {
  const headers = authorization ? { authorization } : {}
  return answer(nsid, await fetch(`${host}/xrpc/${nsid}?${new URLSearchParams(params)}`, { headers }))
}

// The input is JSON, or a CAR where it is bytes.
export async function procedure(host, nsid, input, authorization) {
  const headers = authorization ? { authorization } : {}
  const isCar = input instanceof Uint8Array
  if (input !== undefined) headers['content-type'] = isCar ? 'application/vnd.ipld.car' : 'application/json'
  const body = input === undefined || isCar ? input : JSON.stringify(input)
  return answer(nsid, await fetch(`${host}/xrpc/${nsid}`, { method: 'POST', headers, body }))
}
