package api

import "context"

func tellLimits(ctx context.Context, d demo) (any, error) {
	d.Story.Say("The identity belongs to Envoy. These are the containers and what they mount:")
	l, err := d.scene.Limits(ctx)
	if err != nil {
		return l, err
	}
	d.Show(l.MountsRan)
	d.Story.Say("So an app that asks the SPIRE agent for a certificate of its own gets none:")
	d.Show(l.SVIDRan)
	d.Story.Checked("no socket and no SVID for the app's container (and with a socket it would get none either: the entry selects envoy)")
	return l, nil
}
