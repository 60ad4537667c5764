// Package files is the program beside an app that speaks TLS itself: it keeps the app's SVID, its key, the bundles that
// verify others, and JWT-SVIDs as files, which change all at once.
package files
