package intent

// Level is how near to a pod something was written that counts for it.
type Level string

// The levels, of which the first that says something counts.
const (
	OnPod       Level = "pod"
	OnNamespace Level = "namespace"
	OnPlatform  Level = "platform" // in the platform file, or built in
)

// Origin is where something was written that counts for a pod. The zero value says that nobody wrote it.
type Origin struct {
	Level Level `json:"level"`
	// Key is that of an annotation, or of a field of the platform file.
	Key string `json:"key"`
}

// Of says it for people, of a pod in a namespace.
func (o Origin) Of(namespace string) string {
	switch o.Level {
	case OnPod:
		return "annotation " + o.Key
	case OnNamespace:
		return "annotation " + o.Key + " of Namespace " + namespace
	case OnPlatform:
		return o.Key + " of the platform file"
	}
	return "nowhere"
}

// Origins are where the parts of an [Intent] were written.
type Origins struct {
	ID, AllowedPeers, Inbound, Upstreams, Capture Origin

	ownPeers []bool // of the inbound listeners: they do not take AllowedPeers
}

// Peers is where the peers of an inbound listener of [Intent.Proxy] were written.
func (o Origins) Peers(listener int) Origin {
	if listener < len(o.ownPeers) && o.ownPeers[listener] {
		return o.Inbound
	}
	return o.AllowedPeers
}

func (r *reader) findOrigins() {
	of := func(field string, keys ...string) Origin {
		for _, key := range keys {
			switch v, ok := r.written[key]; {
			case ok && v.onPod:
				return Origin{Level: OnPod, Key: key}
			case ok:
				return Origin{Level: OnNamespace, Key: key}
			}
		}
		if field == "" {
			return Origin{}
		}
		return Origin{Level: OnPlatform, Key: field}
	}
	r.Origins = Origins{
		ID:           of("identity.templates", AnnotationSPIFFEID),
		AllowedPeers: of("defaults.allowedPeers", AnnotationAllowedPeers),
		Inbound:      of("", AnnotationInbound, AnnotationAppPort),
		Upstreams:    of("", AnnotationUpstreams),
		Capture:      of("defaults.capture", AnnotationCapture),
	}
	if r.Proxy.Captured && r.Origins.Inbound == (Origin{}) {
		r.Origins.Inbound = r.Origins.Capture
	}
	for _, l := range r.inbound {
		r.Origins.ownPeers = append(r.Origins.ownPeers, !l.defaultPeers)
	}
}
