// SPDX-License-Identifier: Apache-2.0

package org.apache.beam.sdk.fn.server;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.apache.beam.model.pipeline.v1.Endpoints.ApiServiceDescriptor;
import org.apache.beam.sdk.fn.channel.SocketAddressFactory;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.BindableService;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.Server;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.ServerInterceptors;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.netty.NettyServerBuilder;

/**
 * Takes the place of Beam's class of this name, which looks at the port of an address only: its servers, where anybody may submit a job or
 * read the data of one, listen on every network of the machine. These listen on the address they are given, on loopback when none is.
 *
 * <p>Comes first on the class path. TCP only: Beam's other kinds of sockets are not used with Flink. The package of gRPC carries its
 * version; whoever compiles this puts in that of the jars at hand.
 */
public abstract class ServerFactory {
  private static final int SHORTEST_KEEP_ALIVE_S = 20; // workers behind a router knock about that often

  /** How an address is told to those who shall call. */
  public interface UrlFactory {
    String createUrl(String host, int port);

    static UrlFactory createDefault() {
      return (host, port) -> host + ":" + port;
    }
  }

  public static ServerFactory createDefault() {
    return createWithUrlFactory(UrlFactory.createDefault());
  }

  public static ServerFactory createWithUrlFactory(UrlFactory urls) {
    return createWithUrlFactoryAndPortSupplier(urls, () -> 0);
  }

  public static ServerFactory createWithPortSupplier(Supplier<Integer> ports) {
    return createWithUrlFactoryAndPortSupplier(UrlFactory.createDefault(), ports);
  }

  public static ServerFactory createWithUrlFactoryAndPortSupplier(UrlFactory urls, Supplier<Integer> ports) {
    return new Tcp(urls, ports);
  }

  public abstract Server allocateAddressAndCreate(List<BindableService> services, ApiServiceDescriptor.Builder toTell)
      throws IOException;

  public abstract Server create(List<BindableService> services, ApiServiceDescriptor wanted) throws IOException;

  private static final class Tcp extends ServerFactory {
    private final UrlFactory urls;
    private final Supplier<Integer> ports;

    Tcp(UrlFactory urls, Supplier<Integer> ports) {
      this.urls = urls;
      this.ports = ports;
    }

    @Override
    public Server allocateAddressAndCreate(List<BindableService> services, ApiServiceDescriptor.Builder toTell)
        throws IOException {
      InetAddress loopback = InetAddress.getLoopbackAddress();
      Server server = serve(services, new InetSocketAddress(loopback, ports.get()));
      toTell.setUrl(urls.createUrl(loopback.getHostAddress(), server.getPort()));
      return server;
    }

    @Override
    public Server create(List<BindableService> services, ApiServiceDescriptor wanted) throws IOException {
      return serve(services, SocketAddressFactory.createFrom(wanted.getUrl()));
    }

    private static Server serve(List<BindableService> services, SocketAddress address) throws IOException {
      NettyServerBuilder builder =
          NettyServerBuilder.forAddress(address)
              .maxInboundMessageSize(Integer.MAX_VALUE)
              .permitKeepAliveTime(SHORTEST_KEEP_ALIVE_S, TimeUnit.SECONDS);
      for (BindableService service : services) {
        builder.addService(ServerInterceptors.intercept(service, GrpcContextHeaderAccessorProvider.interceptor()));
      }
      return builder.build().start();
    }
  }
}
