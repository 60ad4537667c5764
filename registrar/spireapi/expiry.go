package spireapi

import "time"

// SVIDExpiry returns when the own X.509-SVID expires, or false while there is none: over the server's Unix socket there
// never is.
func (c *Client) SVIDExpiry() (time.Time, bool) {
	if c.identity == nil {
		return time.Time{}, false
	}
	svid, err := c.identity.GetX509SVID()
	if err != nil {
		return time.Time{}, false
	}
	return svid.Certificates[0].NotAfter, true
}
