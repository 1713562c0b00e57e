// The DID document of a PLC operation, as today's directory writes it.

const SUITES = {
  'did:key:zQ3': 'https://w3id.org/security/suites/secp256k1-2019/v1',
  'did:key:zDn': 'https://w3id.org/security/suites/ecdsa-2019/v1',
}

export function documentOf(did, op) {
  const suites = Object.values(op.verificationMethods).map((key) => SUITES[key.slice(0, 11)])
  return {
    '@context': [
      'https://www.w3.org/ns/did/v1',
      'https://w3id.org/security/multikey/v1',
      ...new Set(suites.filter(Boolean)),
    ],
    id: did,
    alsoKnownAs: op.alsoKnownAs,
    verificationMethod: Object.entries(op.verificationMethods).map(([name, key]) => ({
      id: `${did}#${name}`,
      type: 'Multikey',
      controller: did,
      publicKeyMultibase: key.slice('did:key:'.length),
    })),
    service: Object.entries(op.services).map(([name, { type, endpoint }]) => ({
      id: `#${name}`,
      type,
      serviceEndpoint: endpoint,
    })),
  }
}
