// Package outbound is the one HTTP client for hosts that the network names.
//
// It promises that a request reaches public addresses only, over https on port
// 443, also after redirects and whatever DNS answers meanwhile: names are
// resolved here, the addresses are checked, and a checked address is what gets
// dialled. It promises that an exchange ends: in bytes (decompressed ones are
// counted), in time, and below a minimum rate. It sends no cookies, follows at
// most three redirects and asks no proxy.
//
// It refuses with refusal.ForbiddenAddress what the guard stops, with
// AnswerTooBig and AnswerTooSlow what passes the bounds of a request, and with
// AnswerInvalid an encoding that was not asked for or too many redirects. All
// other errors are failures of the network: wrapped, bounded in length, worth
// another try later.
//
// Identities, crawls and fetches of repos call it. It keeps idle connections and
// nothing else, so a crash leaves nothing behind.
package outbound
