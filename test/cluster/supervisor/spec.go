// Package supervisor is process 1 of a test cluster: it arranges the namespaces in which it was started, starts the
// cluster's daemons, restarts those that end, and reaps. When it ends, the kernel ends everything in them. Each further
// node has a process 1 too, in namespaces below those of the first.
package supervisor

// Spec is what process 1 is told, as one JSON document on its standard input. If that ends before the document does,
// whoever started the cluster was killed, and process 1 exits before it has done anything.
type Spec struct {
	// Hostname is the name of the machine that is made.
	Hostname string `json:"hostname"`
	// Cgroups are folders of cgroups that process 1 enters before anything else.
	Cgroups []string `json:"cgroups,omitempty"`
	// Tmpfs are folders of the machine that the cluster has for itself, empty, in memory.
	Tmpfs []Tmpfs `json:"tmpfs"`
	// Keep are folders that stay what they are on the machine even if one of Tmpfs lies above them.
	Keep []string `json:"keep"`
	// Dirs are made after the mounts.
	Dirs []string `json:"dirs"`
	// OpenDirs are folders, made like Dirs, whose new folders are opened to all users as soon as they appear.
	OpenDirs []string `json:"openDirs"`
	// Masked are kernel settings of the whole machine that daemons would write: they find files with the wanted value
	// there and leave the machine alone. The key is a path below /proc/sys.
	Masked map[string]string `json:"masked"`
	// Sysctls are settings of the network namespace, likewise.
	Sysctls map[string]string `json:"sysctls"`
	// Commands are run one after the other before any daemon.
	Commands [][]string `json:"commands"`
	// Env is the whole environment of commands and daemons.
	Env     []string `json:"env"`
	Daemons []Daemon `json:"daemons"`
	// Nodes are further machines. Those see the folders of Keep and OpenDirs that their own Spec keeps.
	Nodes []Node `json:"nodes,omitempty"`
	// StatusFile is where the state of the daemons is kept for others to read.
	StatusFile string `json:"statusFile"`
}

// Tmpfs is one file system in memory.
type Tmpfs struct {
	Path string `json:"path"`
	// Options as mount(8) takes them, such as mode=755.
	Options string `json:"options"`
}

// Daemon is one program that runs as long as the cluster does.
type Daemon struct {
	Name string   `json:"name"`
	Path string   `json:"path"`
	Args []string `json:"args"`          // without the program's own name
	Env  []string `json:"env,omitempty"` // beside that of all
	Log  string   `json:"log"`
	// After, if set, holds the daemon back until that address answers 200.
	After *Endpoint `json:"after,omitempty"`
}

// Node is a further machine of the cluster: network, mounts, processes and hostname of its own. If it ends it is not
// started again, as nobody would do that for a machine.
type Node struct {
	Name string `json:"name"`
	Log  string `json:"log"` // of its process 1
	// Connect is a command that makes the network between this machine and the node. Its last argument, which is the
	// node's process 1, is added.
	Connect []string `json:"connect"`
	// Commands are run on this machine when they are connected.
	Commands [][]string `json:"commands"`
	Spec     Spec       `json:"spec"`
}

// Endpoint is an HTTPS address.
type Endpoint struct {
	URL    string `json:"url"`
	CAFile string `json:"caFile"`
}

// Status is the content of the status file: one element per daemon and then one per node, in the order of the Spec.
type Status []DaemonStatus

// DaemonStatus is how one daemon or node fares.
type DaemonStatus struct {
	Name     string `json:"name"`
	PID      int    `json:"pid"` // in the cluster's process namespace; 0 while the daemon does not run
	Restarts int    `json:"restarts"`
	LastExit string `json:"lastExit,omitempty"`
}
