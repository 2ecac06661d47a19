"""The client of a stock ticker: asks for one symbol after the other on one stream, and prints the updates."""
import os
import sys
import time

import grpc

import fin_pb2
import fin_pb2_grpc


def generate_requests(symbols, gap):
    for number, symbol in enumerate(symbols):
        if number > 0:
            time.sleep(gap)
        print(f'Subscribing to {symbol}', flush=True)
        yield fin_pb2.TickerRequest(ticker_symbol=symbol)


def main():
    server_address = os.environ.get('MESSENGER_SERVER_ADDR', 'localhost:50051')
    gap = float(os.environ.get('TICKER_GAP', '3'))
    symbols = sys.argv[1:] or ['AAPL', 'GOOGL', 'MSFT', 'TSLA']

    with grpc.insecure_channel(server_address) as channel:
        stub = fin_pb2_grpc.StockTickerStub(channel)
        for update in stub.SubscribeToStockUpdates(generate_requests(symbols, gap)):
            moment = time.strftime('%H:%M:%S', time.localtime(update.timestamp))
            print(
                f'{moment} {update.ticker_symbol}: {update.current_price:.2f} '
                f'{update.price_change:+.2f} ({update.change_percent:+.2f}%) '
                f'volume {update.volume}',
                flush=True,
            )


if __name__ == '__main__':
    main()
