package files

import (
	"fmt"
	"maps"
	"path"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// Files that are always there, in PEM but for the last, which is a JWKS.
const (
	SVIDFile      = "svid.pem" // with intermediate certificates, if there are any
	KeyFile       = "svid_key.pem"
	BundleFile    = "svid_bundle.pem"
	JWTBundleFile = "jwt_bundle.json"
)

// federatedDir holds NAME.pem and NAME.json of each federated trust domain.
const federatedDir = "federated"

// maxName is how long the name of a trust domain may be that becomes a file's, by what file systems take.
const maxName = 255 - len(".json")

// certificates are the files of an X.509 context for an identity.
func certificates(x *workloadapi.X509Context, id spiffeid.ID) (contents, error) {
	svid := svidOf(x, id)
	if svid == nil {
		return nil, fmt.Errorf("the agent gave %d SVIDs, none of which is %s", len(x.SVIDs), id)
	}
	chain, key, err := svid.Marshal()
	if err != nil {
		return nil, err
	}
	files := contents{SVIDFile: chain, KeyFile: key}
	for _, bundle := range x.Bundles.Bundles() {
		text, err := bundle.Marshal()
		if err != nil {
			return nil, err
		}
		files.addBundle(id.TrustDomain(), bundle.TrustDomain(), BundleFile, ".pem", text)
	}
	if files[BundleFile] == nil {
		return nil, fmt.Errorf("the agent gave no bundle of %s", id.TrustDomain())
	}
	return files, nil
}

func svidOf(x *workloadapi.X509Context, id spiffeid.ID) *x509svid.SVID {
	for _, svid := range x.SVIDs {
		if svid.ID == id {
			return svid
		}
	}
	return nil
}

// keys are the files of the bundles that verify JWT-SVIDs.
func keys(bundles *jwtbundle.Set, own spiffeid.TrustDomain) (contents, error) {
	files := contents{}
	for _, bundle := range bundles.Bundles() {
		text, err := bundle.Marshal()
		if err != nil {
			return nil, err
		}
		files.addBundle(own, bundle.TrustDomain(), JWTBundleFile, ".json", text)
	}
	if files[JWTBundleFile] == nil {
		return nil, fmt.Errorf("the agent gave no JWT bundle of %s", own)
	}
	return files, nil
}

// addBundle leaves out a federated trust domain whose name is too long for a file.
func (c contents) addBundle(own, of spiffeid.TrustDomain, ownFile, ending string, text []byte) {
	switch {
	case of == own:
		c[ownFile] = text
	case len(of.Name()) <= maxName:
		c[path.Join(federatedDir, of.Name()+ending)] = text
	}
}

// merged are the files of all.
func merged(all ...contents) contents {
	out := contents{}
	for _, c := range all {
		maps.Copy(out, c)
	}
	return out
}
