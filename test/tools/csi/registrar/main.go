// Registrar tells the kubelet of a CSI driver on its node. It does what the node-driver-registrar of Kubernetes' storage
// group does and takes its two flags, so that one manifest serves both: that program is not published as a Go module.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// registrationDir is where the kubelet's folder of plugin sockets is mounted.
const registrationDir = "/registration"

func main() {
	driver := flag.String("csi-address", "/run/csi/socket", "socket of the CSI driver")
	kubelet := flag.String("kubelet-registration-path", "", "path of that socket as the kubelet sees it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, *driver, *kubelet); err != nil {
		log.Fatalln("registrar:", err)
	}
}

func run(ctx context.Context, driver, kubelet string) error {
	if kubelet == "" {
		return errors.New("expected --kubelet-registration-path")
	}
	name, err := nameOf(ctx, driver)
	if err != nil {
		return err
	}
	socket := filepath.Join(registrationDir, name+"-reg.sock")
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the socket of an earlier run: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	// Buffered, so that the answer to the kubelet does not wait for run to read it.
	refused := make(chan error, 1)
	server := grpc.NewServer()
	registration.RegisterRegistrationServer(server, plugin{name: name, endpoint: kubelet, refused: refused})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	log.Printf("offering %s at %s to the kubelet", name, socket)
	defer server.Stop() // closes the listener, which removes the socket: the kubelet forgets the driver
	select {
	case <-ctx.Done():
		return nil
	case err := <-refused:
		return err
	case err := <-served:
		return err
	}
}

// nameOf asks the driver, which may still be starting, for its name.
func nameOf(ctx context.Context, socket string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return "", err
	}
	defer func() { _ = connection.Close() }()
	info, err := csi.NewIdentityClient(connection).GetPluginInfo(ctx, &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return "", fmt.Errorf("asking the CSI driver at %s for its name: %w", socket, err)
	}
	return info.GetName(), nil
}

// plugin answers the kubelet.
type plugin struct {
	registration.UnimplementedRegistrationServer
	name     string
	endpoint string
	refused  chan<- error
}

func (p plugin) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: p.name, Endpoint: p.endpoint, SupportedVersions: []string{"1.0.0"}, // of CSI
	}, nil
}

func (p plugin) NotifyRegistrationStatus(
	_ context.Context, s *registration.RegistrationStatus,
) (*registration.RegistrationStatusResponse, error) {
	if s.GetPluginRegistered() {
		log.Printf("the kubelet has registered %s", p.name)
		return &registration.RegistrationStatusResponse{}, nil
	}
	select {
	case p.refused <- fmt.Errorf("the kubelet does not register %s: %s", p.name, s.GetError()):
	default: // run ends already
	}
	return &registration.RegistrationStatusResponse{}, nil
}
