// Package tokens is the program beside an Envoy that has to do with JWT-SVIDs, which the agent's SDS does not offer:
// it serves the keys that verify them, as they are, and keeps a token for each audience in a file.
package tokens
