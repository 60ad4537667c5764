package local

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// kubeconfig is the part of a kubeconfig file that is needed here. It is written as JSON, which is YAML too.
type kubeconfig struct {
	APIVersion     string         `json:"apiVersion"`
	Kind           string         `json:"kind"`
	Clusters       []namedCluster `json:"clusters"`
	Users          []namedUser    `json:"users"`
	Contexts       []namedContext `json:"contexts"`
	CurrentContext string         `json:"current-context"`
}

type namedCluster struct {
	Name    string `json:"name"`
	Cluster struct {
		Server string `json:"server"`
		CA     []byte `json:"certificate-authority-data"`
	} `json:"cluster"`
}

type namedUser struct {
	Name string `json:"name"`
	User struct {
		Cert []byte `json:"client-certificate-data"`
		Key  []byte `json:"client-key-data"`
	} `json:"user"`
}

type namedContext struct {
	Name    string `json:"name"`
	Context struct {
		Cluster string `json:"cluster"`
		User    string `json:"user"`
	} `json:"context"`
}

func newKubeconfig(cluster, server string, ca []byte, client keyPair) ([]byte, error) {
	name := "spire-injector-" + cluster
	c := namedCluster{Name: name}
	c.Cluster.Server, c.Cluster.CA = server, ca
	u := namedUser{Name: name}
	u.User.Cert, u.User.Key = client.cert, client.key
	x := namedContext{Name: name}
	x.Context.Cluster, x.Context.User = name, name
	return json.MarshalIndent(kubeconfig{APIVersion: "v1", Kind: "Config", Clusters: []namedCluster{c}, Users: []namedUser{u},
		Contexts: []namedContext{x}, CurrentContext: name}, "", "  ")
}

// writeCredentials makes every key, certificate and kubeconfig of the cluster below l.
func writeCredentials(l layout, cluster string, s Shape, inside netip.Addr, now time.Time) error {
	ca, err := newAuthority(now)
	if err != nil {
		return err
	}
	caPair, err := ca.pair()
	if err != nil {
		return err
	}
	signing, err := newSigningKey()
	if err != nil {
		return err
	}
	files := map[string][]byte{
		l.pki("ca.crt"): caPair.cert, l.pki("ca.key"): caPair.key,
		l.pki("service-accounts.pub"): signing.cert, l.pki("service-accounts.key"): signing.key,
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	everywhere := []netip.Addr{loopback, inside}
	for _, w := range s.networks() {
		everywhere = append(everywhere, w.addressOf(controlPlane), w.api)
	}
	servers := map[string]subject{
		"apiserver": {name: "kube-apiserver",
			hosts:     []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + clusterDomain},
			addresses: everywhere},
		"apiserver-kubelet-client": {name: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}},
	}
	for _, n := range nodesOf(s.Nodes) {
		kubelet := subject{name: n.name(), hosts: []string{n.name()}}
		for _, w := range s.networks() {
			kubelet.addresses = append(kubelet.addresses, w.addressOf(n))
		}
		servers["kubelet-server-"+n.name()] = kubelet
	}
	for file, server := range servers {
		pair, err := ca.issue(server, now)
		if err != nil {
			return err
		}
		files[l.pki(file+".crt")], files[l.pki(file+".key")] = pair.cert, pair.key
	}
	local := "https://" + netip.AddrPortFrom(loopback, apiPort).String()
	everyNode := "https://" + netip.AddrPortFrom(controlPlane.address(), apiPort).String()
	type user struct {
		subject
		server string
	}
	users := map[string]user{
		l.kubeconfig():              {subject{name: "admin", groups: []string{"system:masters"}}, "https://" + netip.AddrPortFrom(inside, apiPort).String()},
		l.pki("controller-manager"): {subject{name: "system:kube-controller-manager"}, local},
		l.pki("scheduler"):          {subject{name: "system:kube-scheduler"}, local},
		l.pki("kube-proxy"):         {subject{name: "system:kube-proxy"}, everyNode},
	}
	for _, n := range nodesOf(s.Nodes) {
		users[l.pki("kubelet-"+n.name())] = user{subject{name: "system:node:" + n.name(), groups: []string{"system:nodes"}}, everyNode}
	}
	for file, u := range users {
		pair, err := ca.issue(u.subject, now)
		if err != nil {
			return err
		}
		if files[file], err = newKubeconfig(cluster, u.server, caPair.cert, pair); err != nil {
			return err
		}
	}
	for file, data := range files {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			return fmt.Errorf("write credentials: %w", err)
		}
	}
	return nil
}
